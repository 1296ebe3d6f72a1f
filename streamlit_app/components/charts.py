"""Charts, as Altair objects; the page decides where they go.

Data travels beside the specification, which stays the same while only numbers change: the browser then moves the
bars instead of drawing a new chart.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import altair as alt

# Altair takes whatever sys.modules holds for pandas, which Streamlit imports late: without this line a
# second visitor's chart fails when it meets pandas half imported by the first one's ("no attribute 'Timestamp'").
import pandas as pd

from streamlit_app.components.text import percent, shorten
from streamlit_app.predict.reasons import Place, Reason

# Okabe and Ito's: told apart by lightness too, so in every kind of colour blindness; at least 3:1 on both themes' page.
PREDICTED_COLOUR = "#0072b2"
AGAINST_COLOUR = "#d55e00"
OTHER_COLOUR = "#8c8c8c"
# Text marks do not follow the theme by themselves.
INK = {"light": "#31333f", "dark": "#e6e9ef"}
# More bars than this do not fit beside each other on a phone.
MOST_BARS = 12
# Characters of a name; more would leave a phone no room for the bar.
LONGEST_NAME = 20
LONGEST_REASON = 28
BAR_HEIGHT_PIXELS = 32
BAR_PIXELS = 18
# Beyond 100 percent, for the number behind the bar.
ROOM_FOR_NUMBER = 1.22
MOST_MATRIX_NUMBERS = 20
MOST_ERRORS = 3


def probability_rows(probabilities: Mapping[str, float], predicted: str) -> list[dict[str, str | float | bool]]:
    """One row a bar: the model's classes in its own order, or of many classes the likeliest and the rest in one."""
    shown = list(probabilities.items())
    if len(shown) > MOST_BARS:
        ranked = sorted(shown, key=lambda item: item[1], reverse=True)
        rest = ranked[MOST_BARS - 1 :]
        shown = ranked[: MOST_BARS - 1]
        shown.append((f"{len(rest)} others", sum(value for _, value in rest)))
    return [
        {"name": name, "value": value, "shown": percent(value), "marked": name == predicted} for name, value in shown
    ]


def probability_chart(probabilities: Mapping[str, float], predicted: str, theme: str) -> alt.LayerChart:
    """Horizontal bars from 0 to 100 percent, the predicted class in colour, each with its percentage."""
    return _bars(probability_rows(probabilities, predicted), theme, ("Class", "Probability"))


def share_chart(shares: Mapping[str, float], theme: str, titles: tuple[str, str]) -> alt.LayerChart:
    """The same for shares of which none is special, such as the importance of features."""
    ranked = dict(sorted(shares.items(), key=lambda item: -item[1]))
    rows = [row | {"marked": True} for row in probability_rows(ranked, "")]
    return _bars(rows, theme, titles)


def count_chart(counts: Mapping[str, int], theme: str) -> alt.LayerChart:
    """How many rows got which class."""
    total = sum(counts.values()) or 1
    rows = probability_rows({name: count / total for name, count in counts.items()}, "")
    for row in rows:
        row |= {"marked": True, "shown": f"{round(float(row['value']) * total):,}"}
    return _bars(rows, theme, ("Class", "Rows"))


def _bars(rows: Sequence[Mapping[str, object]], theme: str, titles: tuple[str, str]) -> alt.LayerChart:
    data = pd.DataFrame([{**row, "position": position} for position, row in enumerate(rows)])
    base = alt.Chart(data).encode(
        y=alt.Y("position:O", title=None, axis=_names([str(row["name"]) for row in rows], LONGEST_NAME)),
        x=alt.X("value:Q", scale=alt.Scale(domain=[0, ROOM_FOR_NUMBER]), axis=None),
        tooltip=[alt.Tooltip("name:N", title=titles[0]), alt.Tooltip("shown:N", title=titles[1])],
    )
    colour = alt.condition("datum.marked", alt.value(PREDICTED_COLOUR), alt.value(OTHER_COLOUR))
    bars = base.mark_bar(cornerRadiusEnd=3, size=BAR_PIXELS).encode(color=colour)
    numbers = base.mark_text(align="left", dx=6, fontSize=13, color=INK[theme]).encode(text="shown:N")
    return _sized(alt.layer(bars, numbers), len(rows))


def _names(names: Sequence[str], longest: int) -> alt.Axis:
    # Axis labels follow the theme, and two names that are cut to the same text are two rows nevertheless.
    labels = json.dumps([shorten(name, longest) for name in names])
    return alt.Axis(
        labelExpr=f"{labels}[datum.value]", labelLimit=0, labelFontSize=13, ticks=False, domain=False, labelPadding=8
    )


def _sized(chart: alt.LayerChart, rows: int) -> alt.LayerChart:
    return chart.properties(height=BAR_HEIGHT_PIXELS * rows, padding={"left": 4, "right": 8, "top": 4, "bottom": 4})


def reason_chart(reasons: Sequence[Reason], theme: str) -> alt.LayerChart:
    """Bars to the right for what speaks for the class, to the left for what speaks against it."""
    largest = max((abs(reason.contribution) for reason in reasons), default=0.0) or 1.0
    rows = [
        {
            "name": reason.text,
            "value": reason.contribution / largest,
            "shown": f"{reason.contribution:+.2f}",
            "marked": reason.contribution >= 0,
            "position": position,
        }
        for position, reason in enumerate(reasons)
    ]
    labels = _names([reason.text for reason in reasons], LONGEST_REASON)
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("position:O", title=None, axis=labels),
        x=alt.X("value:Q", scale=alt.Scale(domain=[-1.35, 1.35]), axis=None),
        tooltip=[alt.Tooltip("name:N", title="Feature"), alt.Tooltip("shown:N", title="Adds to the margin")],
    )
    colour = alt.condition("datum.marked", alt.value(PREDICTED_COLOUR), alt.value(AGAINST_COLOUR))
    bars = base.mark_bar(cornerRadiusEnd=3, size=BAR_PIXELS).encode(color=colour)
    ink = INK[theme]
    right = base.transform_filter("datum.marked").mark_text(align="left", dx=5, fontSize=13, color=ink)
    left = base.transform_filter("!datum.marked").mark_text(align="right", dx=-5, fontSize=13, color=ink)
    return _sized(alt.layer(bars, right.encode(text="shown:N"), left.encode(text="shown:N")), len(rows))


def place_chart(places: Sequence[Place], theme: str) -> alt.LayerChart:
    """For each feature the training range as a line, its middle 90% and 50% as boxes, and the value as a dot."""
    data = pd.DataFrame([{**asdict(place), "position": i, "start": 0.0, "end": 1.0} for i, place in enumerate(places)])
    scale = alt.Scale(domain=[-0.1, 1.1])
    base = alt.Chart(data).encode(
        y=alt.Y("position:O", title=None, axis=_names([place.text for place in places], LONGEST_NAME)),
        tooltip=[alt.Tooltip("text:N", title="Feature"), alt.Tooltip("words:N", title="Value")],
    )

    def span(left: str, right: str, size: int, opacity: float) -> alt.Chart:
        return base.mark_bar(size=size, color=OTHER_COLOUR, opacity=opacity, cornerRadius=2).encode(
            x=alt.X(f"{left}:Q", scale=scale, axis=None), x2=f"{right}:Q"
        )

    median = base.mark_tick(color=INK[theme], thickness=2, size=16).encode(x=alt.X("median:Q", scale=scale, axis=None))
    dot = base.mark_point(filled=True, opacity=1, size=130, stroke=INK[theme], strokeWidth=1).encode(
        x=alt.X("value:Q", scale=scale, axis=None),
        color=alt.condition("datum.outside", alt.value(AGAINST_COLOUR), alt.value(PREDICTED_COLOUR)),
        shape=alt.condition("datum.outside", alt.value("diamond"), alt.value("circle")),
    )
    layers = [span("start", "end", 3, 0.6), span("low", "high", 10, 0.35), span("inner_low", "inner_high", 18, 0.35)]
    return _sized(alt.layer(*layers, median, dot), len(places))


def confusion_chart(matrix: Sequence[Sequence[int]], classes: Sequence[str], theme: str) -> alt.LayerChart:
    """Rows: what it was; columns: what the model said. The darker, the more of the class's rows."""
    cells = [
        {"actual": i, "said": j, "count": count, "share": count / (sum(line) or 1), "was": classes[i], "is": classes[j]}
        for i, line in enumerate(matrix)
        for j, count in enumerate(line)
    ]
    labels = json.dumps([shorten(name, LONGEST_NAME) for name in classes])

    def axis(title: str, **more: object) -> alt.Axis:
        return alt.Axis(labelExpr=f"{labels}[datum.value]", labelLimit=120, title=title, ticks=False, **more)

    few = len(classes) <= 5
    # Names beside each other as long as they do not touch.
    flat = few or max(map(len, classes)) <= 2
    base = alt.Chart(pd.DataFrame(cells)).encode(
        x=alt.X("said:O", axis=axis("The model said", orient="top", labelAngle=0 if flat else -90)),
        y=alt.Y("actual:O", axis=axis("It was")),
        tooltip=[
            alt.Tooltip("was:N", title="It was"),
            alt.Tooltip("is:N", title="The model said"),
            alt.Tooltip("count:Q", title="Rows"),
        ],
    )
    ends = ["#f3f7fb", PREDICTED_COLOUR] if theme == "light" else ["#1b2530", "#56b4e9"]
    colour = alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=ends), legend=None)
    layers = [base.mark_rect(stroke=OTHER_COLOUR, strokeWidth=0.5).encode(color=colour)]
    if len(classes) <= MOST_MATRIX_NUMBERS:
        strong, weak = ("#ffffff", INK["light"]) if theme == "light" else ("#0e1117", INK["dark"])
        ink = alt.condition("datum.share > 0.5", alt.value(strong), alt.value(weak))
        layers.append(base.mark_text(fontSize=15 if few else 11).encode(text="count:Q", color=ink))
    size = 64 if few else max(18, 420 // len(classes))
    return alt.layer(*layers).properties(height=size * len(classes))


def latency_chart(milliseconds: Sequence[float], most: int) -> alt.Chart:
    """One bar a call, the newest at the right, with room for `most` of them."""
    data = pd.DataFrame({"call": range(most - len(milliseconds) + 1, most + 1), "ms": milliseconds})
    return (
        alt.Chart(data)
        .mark_bar(color=PREDICTED_COLOUR, cornerRadiusEnd=2, size=5)
        .encode(
            x=alt.X("call:Q", axis=None, scale=alt.Scale(domain=[0.5, most + 0.5], nice=False)),
            y=alt.Y("ms:Q", title="ms"),
            tooltip=[alt.Tooltip("ms:Q", title="ms", format=".1f")],
        )
        .properties(height=140)
    )


def probability_words(probabilities: Mapping[str, float], predicted: str) -> str:
    """The chart of probabilities as one sentence, for who cannot see it."""
    return _in_words("Probabilities", probability_rows(probabilities, predicted))


def share_words(title: str, shares: Mapping[str, float]) -> str:
    """A chart of shares as one sentence."""
    return _in_words(title, probability_rows(dict(sorted(shares.items(), key=lambda item: -item[1])), ""))


def confusion_words(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """The confusion matrix as one sentence, with the errors that are made most."""
    right = sum(line[i] for i, line in enumerate(matrix))
    total = sum(map(sum, matrix))
    wrong = sorted(
        ((count, i, j) for i, line in enumerate(matrix) for j, count in enumerate(line) if i != j and count),
        key=lambda error: -error[0],
    )
    told = [f"{count} of {classes[i]} called {classes[j]}" for count, i, j in wrong[:MOST_ERRORS]]
    most = "most often " if len(wrong) > MOST_ERRORS else ""
    return f"{right} of {total} rows right" + (f"; {most}{', '.join(told)}." if told else ".")


def _in_words(title: str, rows: Iterable[Mapping[str, object]]) -> str:
    return f"{title}: " + ", ".join(f"{row['name']} {row['shown']}" for row in rows) + "."
