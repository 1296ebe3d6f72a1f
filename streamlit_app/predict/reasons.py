"""The contributions of a row's values to its class, in words and as a chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import altair as alt
import pandas as pd

from streamlit_app.clients.card import CardView
from streamlit_app.components.charts import BAR_PIXELS, BLUE, INK, ORANGE, name_axis, sized
from streamlit_app.components.text import escape, feature_with_value

# A phone has no room for more bars, or for longer names beside them.
MAX_BARS = 10
MAX_REASON = 28
MAX_SENTENCES = 3
# A contribution below this share of the largest one gets no sentence.
MIN_SHARE = 0.1


@dataclass(frozen=True)
class Reason:
    """What one feature, or many small ones together, adds to the log-odds of the predicted class."""

    name: str
    text: str
    contribution: float


def reasons_for(card: CardView, row: Mapping[str, float], parts: Mapping[str, float]) -> list[Reason]:
    """Return the contributions to one class, the strongest first; the weakest of many features end in one sum."""
    known = [feature for feature in card.features if feature.name in parts]
    known.sort(key=lambda feature: -abs(parts[feature.name]))
    shown = known if len(known) <= MAX_BARS else known[: MAX_BARS - 1]
    reasons = [
        Reason(feature.name, feature_with_value(feature, row[feature.name]), parts[feature.name]) for feature in shown
    ]
    if others := known[len(shown) :]:
        reasons.append(Reason("", f"{len(others)} others", sum(parts[feature.name] for feature in others)))
    return reasons


def sentences(reasons: list[Reason], class_name: str) -> list[str]:
    """Return Markdown: "Petal length 1.4 cm pushes the prediction towards setosa"."""
    single = [reason for reason in reasons if reason.name]
    largest = max((abs(reason.contribution) for reason in single), default=0.0)
    strong = [reason for reason in single if largest and abs(reason.contribution) >= MIN_SHARE * largest]
    return [
        f"{escape(reason.text)} pushes the prediction **{'towards' if reason.contribution > 0 else 'away from'}** "
        f"{escape(class_name)}"
        for reason in strong[:MAX_SENTENCES]
    ]


def reasons_in_words(reasons: list[Reason], class_name: str) -> str:
    """Return the chart as a sentence for screen readers."""
    parts = (f"{reason.text} {reason.contribution:+.2f}" for reason in reasons)
    return f"Contributions to the log-odds of {class_name}: {', '.join(parts)}."


def reason_chart(reasons: Sequence[Reason], theme: str) -> alt.LayerChart:
    """Return bars to the right for contributions towards the class, to the left for those away from it."""
    largest = max((abs(reason.contribution) for reason in reasons), default=0.0) or 1.0
    rows = [
        {
            "name": reason.text,
            "value": reason.contribution / largest,
            "shown": f"{reason.contribution:+.2f}",
            "towards": reason.contribution >= 0,
            "position": position,
        }
        for position, reason in enumerate(reasons)
    ]
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("position:O", title=None, axis=name_axis([reason.text for reason in reasons], MAX_REASON)),
        x=alt.X("value:Q", scale=alt.Scale(domain=[-1.35, 1.35]), axis=None),
        tooltip=[alt.Tooltip("name:N", title="Feature"), alt.Tooltip("shown:N", title="Change in log-odds")],
    )
    colour = alt.condition("datum.towards", alt.value(BLUE), alt.value(ORANGE))
    bars = base.mark_bar(cornerRadiusEnd=3, size=BAR_PIXELS).encode(color=colour)
    ink = INK[theme]
    right = base.transform_filter("datum.towards").mark_text(align="left", dx=5, fontSize=13, color=ink)
    left = base.transform_filter("!datum.towards").mark_text(align="right", dx=-5, fontSize=13, color=ink)
    return sized(alt.layer(bars, right.encode(text="shown:N"), left.encode(text="shown:N")), len(rows))
