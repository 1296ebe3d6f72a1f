"""Charts, as Altair objects; the page decides where they go."""

import importlib
import json
from collections.abc import Mapping

import altair as alt

from text import percent, shorten

# Altair takes whatever sys.modules holds for pandas, which Streamlit imports late: without this line a
# second visitor's chart fails when it meets pandas half imported by the first one's ("no attribute 'Timestamp'").
importlib.import_module("pandas")

# Told apart by lightness too, so in every kind of colour blindness; both at least 3:1 on the light and the dark page.
PREDICTED_COLOUR = "#0072b2"
OTHER_COLOUR = "#8c8c8c"
# More bars than this do not fit beside each other on a phone.
MOST_BARS = 12
# Characters of a class name; more would leave a phone no room for the bar.
LONGEST_NAME = 20
BAR_HEIGHT_PIXELS = 32


def probability_rows(probabilities: Mapping[str, float], predicted: str) -> list[dict[str, str | float | bool]]:
    """One row a bar: the model's classes in its own order, or of many classes the likeliest and the rest in one."""
    shown = list(probabilities.items())
    if len(shown) > MOST_BARS:
        ranked = sorted(shown, key=lambda item: item[1], reverse=True)
        rest = ranked[MOST_BARS - 1 :]
        shown = ranked[: MOST_BARS - 1]
        shown.append((f"{len(rest)} others", sum(value for _, value in rest)))
    return [
        {"class": name, "probability": value, "percent": percent(value), "predicted": name == predicted}
        for name, value in shown
    ]


def probability_chart(probabilities: Mapping[str, float], predicted: str) -> alt.Chart:
    """Horizontal bars from 0 to 100 percent, the predicted class in colour, each labelled with its percentage."""
    rows = probability_rows(probabilities, predicted)
    # Percentages stand in the axis labels since these follow the theme; text marks are black in the dark one too.
    labels = json.dumps([f"{shorten(str(row['class']), LONGEST_NAME)}  {row['percent']}" for row in rows])
    data = alt.InlineData(values=[row | {"position": position} for position, row in enumerate(rows)])
    axis = alt.Axis(labelExpr=f"{labels}[datum.value]", labelLimit=0, labelFontSize=14, ticks=False, domain=False)
    return (
        alt.Chart(data)
        .mark_bar(cornerRadiusEnd=3, size=18)
        .encode(
            y=alt.Y("position:O", title=None, axis=axis),
            x=alt.X("probability:Q", scale=alt.Scale(domain=[0, 1]), axis=None),
            color=alt.condition("datum.predicted", alt.value(PREDICTED_COLOUR), alt.value(OTHER_COLOUR)),
            tooltip=[alt.Tooltip("class:N", title="Class"), alt.Tooltip("percent:N", title="Probability")],
        )
        .properties(height=BAR_HEIGHT_PIXELS * len(rows))
    )


def probability_words(probabilities: Mapping[str, float], predicted: str) -> str:
    """The same as one sentence, for who cannot see the chart."""
    rows = probability_rows(probabilities, predicted)
    return "Probabilities: " + ", ".join(f"{row['class']} {row['percent']}" for row in rows) + "."
