"""Altair charts that several pages share, and the same in words for screen readers.

The data is separate from the specification, which does not change with the numbers: the browser then moves the bars
instead of drawing a new chart.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

import altair as alt

# Altair uses whatever sys.modules has as pandas, which Streamlit imports late: without this line a second visitor's
# chart fails on the pandas that the first one's session has half imported ("no attribute 'Timestamp'").
import pandas as pd

from streamlit_app.components.text import percent, shorten

# Okabe and Ito's colours differ in lightness, too, for every kind of colour blindness; at least 3:1 on both themes.
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREY = "#8c8c8c"
# Text marks do not follow the theme by themselves.
INK = {"light": "#31333f", "dark": "#e6e9ef"}
# A phone has no room for more bars, or for longer names beside them.
MAX_BARS = 12
MAX_NAME = 20
BAR_HEIGHT_PIXELS = 32
BAR_PIXELS = 18
# Beyond 100 percent, for the number behind the bar.
ROOM_FOR_NUMBER = 1.22
MAX_MATRIX_NUMBERS = 20
MAX_CONFUSIONS = 3


def probability_rows(probabilities: Mapping[str, float], predicted: str) -> list[dict[str, str | float | bool]]:
    """Return one row for each bar, in the model's order; of many classes the likeliest, and the others as a sum."""
    shown = list(probabilities.items())
    if len(shown) > MAX_BARS:
        ranked = sorted(shown, key=lambda item: item[1], reverse=True)
        others = ranked[MAX_BARS - 1 :]
        shown = [*ranked[: MAX_BARS - 1], (f"{len(others)} others", sum(value for _, value in others))]
    return [
        {"name": name, "value": value, "shown": percent(value), "marked": name == predicted} for name, value in shown
    ]


def probability_chart(probabilities: Mapping[str, float], predicted: str, theme: str) -> alt.LayerChart:
    """Return horizontal bars from 0 to 100 percent, the predicted class in colour."""
    return _bars(probability_rows(probabilities, predicted), theme, ("Class", "Probability"))


def share_chart(shares: Mapping[str, float], theme: str, titles: tuple[str, str]) -> alt.LayerChart:
    """Return bars of shares, such as the importance of features, the largest first and all in colour."""
    rows = [row | {"marked": True} for row in probability_rows(_ranked(shares), "")]
    return _bars(rows, theme, titles)


def count_chart(counts: Mapping[str, int], theme: str) -> alt.LayerChart:
    """Return bars of the number of rows of each class."""
    total = sum(counts.values()) or 1
    rows = probability_rows({name: count / total for name, count in counts.items()}, "")
    for row in rows:
        row |= {"marked": True, "shown": f"{round(float(row['value']) * total):,}"}
    return _bars(rows, theme, ("Class", "Rows"))


def name_axis(names: Sequence[str], max_length: int) -> alt.Axis:
    """Return the axis of a chart whose bars are numbered by `position`, labelled with their names."""
    # Labels of an axis follow the theme, and names that are cut to the same text stay two bars.
    labels = json.dumps([shorten(name, max_length) for name in names])
    return alt.Axis(
        labelExpr=f"{labels}[datum.value]", labelLimit=0, labelFontSize=13, ticks=False, domain=False, labelPadding=8
    )


def sized(chart: alt.LayerChart, bars: int) -> alt.LayerChart:
    """Return the chart with the height of its bars."""
    return chart.properties(height=BAR_HEIGHT_PIXELS * bars, padding={"left": 4, "right": 8, "top": 4, "bottom": 4})


def _bars(rows: Sequence[Mapping[str, object]], theme: str, titles: tuple[str, str]) -> alt.LayerChart:
    data = pd.DataFrame([{**row, "position": position} for position, row in enumerate(rows)])
    base = alt.Chart(data).encode(
        y=alt.Y("position:O", title=None, axis=name_axis([str(row["name"]) for row in rows], MAX_NAME)),
        x=alt.X("value:Q", scale=alt.Scale(domain=[0, ROOM_FOR_NUMBER]), axis=None),
        tooltip=[alt.Tooltip("name:N", title=titles[0]), alt.Tooltip("shown:N", title=titles[1])],
    )
    colour = alt.condition("datum.marked", alt.value(BLUE), alt.value(GREY))
    bars = base.mark_bar(cornerRadiusEnd=3, size=BAR_PIXELS).encode(color=colour)
    numbers = base.mark_text(align="left", dx=6, fontSize=13, color=INK[theme]).encode(text="shown:N")
    return sized(alt.layer(bars, numbers), len(rows))


def confusion_chart(matrix: Sequence[Sequence[int]], classes: Sequence[str], theme: str) -> alt.LayerChart:
    """Return the confusion matrix, its cells coloured by their share of the true class's rows."""
    cells = [
        {"i": i, "j": j, "count": count, "share": count / (sum(line) or 1), "true": classes[i], "predicted": classes[j]}
        for i, line in enumerate(matrix)
        for j, count in enumerate(line)
    ]
    labels = json.dumps([shorten(name, MAX_NAME) for name in classes])

    def axis(title: str, **more: object) -> alt.Axis:
        return alt.Axis(labelExpr=f"{labels}[datum.value]", labelLimit=120, title=title, ticks=False, **more)

    few = len(classes) <= 5
    # Names are horizontal if they fit without overlap.
    angle = 0 if few or max(map(len, classes)) <= 2 else -90
    base = alt.Chart(pd.DataFrame(cells)).encode(
        x=alt.X("j:O", axis=axis("Predicted class", orient="top", labelAngle=angle)),
        y=alt.Y("i:O", axis=axis("True class")),
        tooltip=[
            alt.Tooltip("true:N", title="True class"),
            alt.Tooltip("predicted:N", title="Predicted class"),
            alt.Tooltip("count:Q", title="Rows"),
        ],
    )
    ends = ["#f3f7fb", BLUE] if theme == "light" else ["#1b2530", "#56b4e9"]
    colour = alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=ends), legend=None)
    layers = [base.mark_rect(stroke=GREY, strokeWidth=0.5).encode(color=colour)]
    if len(classes) <= MAX_MATRIX_NUMBERS:
        strong, weak = ("#ffffff", INK["light"]) if theme == "light" else ("#0e1117", INK["dark"])
        ink = alt.condition("datum.share > 0.5", alt.value(strong), alt.value(weak))
        layers.append(base.mark_text(fontSize=15 if few else 11).encode(text="count:Q", color=ink))
    size = 64 if few else max(18, 420 // len(classes))
    return alt.layer(*layers).properties(height=size * len(classes))


def probability_words(probabilities: Mapping[str, float], predicted: str) -> str:
    """Return the chart of probabilities as a sentence."""
    return _in_words("Probabilities", probability_rows(probabilities, predicted))


def share_words(title: str, shares: Mapping[str, float]) -> str:
    """Return a chart of shares as a sentence."""
    return _in_words(title, probability_rows(_ranked(shares), ""))


def confusion_words(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Return the confusion matrix as a sentence with the most frequent confusions."""
    correct = sum(line[i] for i, line in enumerate(matrix))
    total = sum(map(sum, matrix))
    wrong = sorted(
        ((count, i, j) for i, line in enumerate(matrix) for j, count in enumerate(line) if i != j and count),
        key=lambda confusion: -confusion[0],
    )
    named = [f"{count} of {classes[i]} predicted as {classes[j]}" for count, i, j in wrong[:MAX_CONFUSIONS]]
    most = "most often " if len(wrong) > MAX_CONFUSIONS else ""
    return f"{correct} of {total} test rows predicted correctly" + (f"; {most}{', '.join(named)}." if named else ".")


def _ranked(shares: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _in_words(title: str, rows: Iterable[Mapping[str, object]]) -> str:
    return f"{title}: " + ", ".join(f"{row['name']} {row['shown']}" for row in rows) + "."
