"""A row's values compared with the training data, in words and as a chart."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import altair as alt
import pandas as pd

from streamlit_app.clients.card import CardView, FeatureView
from streamlit_app.components.charts import BLUE, GREY, INK, MAX_NAME, ORANGE, name_axis, sized
from streamlit_app.components.text import humanise, training_range, value_with_unit

# A phone has no room for more.
MAX_PLACES = 10


@dataclass(frozen=True)
class Place:
    """A value within the training data: all numbers are shares of the feature's range; `outside`: it is beyond it."""

    name: str
    text: str
    value: float
    outside: bool
    low: float
    high: float
    inner_low: float
    inner_high: float
    median: float
    words: str


def places_of(card: CardView, row: Mapping[str, float], first: list[str]) -> list[Place]:
    """Return one place for each feature; of many features those out of range, then the ones in `first`."""
    features = list(card.features)
    if len(features) > MAX_PLACES:
        rank = {name: index for index, name in enumerate(first)}
        features.sort(key=lambda feature: (not _outside(feature, row[feature.name]), rank.get(feature.name, len(rank))))
        features = features[:MAX_PLACES]
    return [_place(feature, row[feature.name]) for feature in features]


def outside(card: CardView, row: Mapping[str, float]) -> list[FeatureView]:
    """Return the features whose value is outside the training range."""
    return [feature for feature in card.features if _outside(feature, row[feature.name])]


def _outside(feature: FeatureView, value: float) -> bool:
    return not feature.minimum <= value <= feature.maximum


def _place(feature: FeatureView, value: float) -> Place:
    width = feature.maximum - feature.minimum

    def share(at: float) -> float:
        return (at - feature.minimum) / width if width else 0.5 + (at > feature.minimum) - (at < feature.minimum)

    quantiles = feature.quantiles
    is_outside = _outside(feature, value)
    return Place(
        name=feature.name,
        text=humanise(feature.name),
        # The dot stays at the end of the line, however far the value is beyond it.
        value=min(max(share(value), -0.06), 1.06) if is_outside else share(value),
        outside=is_outside,
        low=share(quantiles.get(0.05, feature.minimum)),
        high=share(quantiles.get(0.95, feature.maximum)),
        inner_low=share(quantiles.get(0.25, feature.minimum)),
        inner_high=share(quantiles.get(0.75, feature.maximum)),
        median=share(feature.median),
        words=place_in_words(feature, value),
    )


def place_in_words(feature: FeatureView, value: float) -> str:
    """Return "1.4 cm is among the lowest 25% of the training rows"."""
    shown, ends = value_with_unit(feature, value), training_range(feature)
    if _outside(feature, value):
        return f"{shown} is outside the training range, {ends}"
    below = [share for share, at in feature.quantiles.items() if value < at]
    above = [share for share, at in feature.quantiles.items() if value > at]
    if feature.minimum == feature.maximum or not feature.quantiles:
        return f"{shown} is in the training range, {ends}"
    if below and min(below) < 0.5:
        return f"{shown} is among the lowest {min(below):.0%} of the training rows"
    if above and max(above) > 0.5:
        return f"{shown} is among the highest {1 - max(above):.0%} of the training rows"
    return f"{shown} is in the middle half of the training rows"


def places_in_words(places: list[Place]) -> str:
    """Return the chart as a sentence for screen readers."""
    return f"Compared with the training data: {'; '.join(f'{place.text} {place.words}' for place in places)}."


def place_chart(places: Sequence[Place], theme: str) -> alt.LayerChart:
    """Return for each feature the training range as a line, its middle 90% and 50% as boxes, and the value as a dot."""
    data = pd.DataFrame([{**asdict(place), "position": i, "start": 0.0, "end": 1.0} for i, place in enumerate(places)])
    scale = alt.Scale(domain=[-0.1, 1.1])
    base = alt.Chart(data).encode(
        y=alt.Y("position:O", title=None, axis=name_axis([place.text for place in places], MAX_NAME)),
        tooltip=[alt.Tooltip("text:N", title="Feature"), alt.Tooltip("words:N", title="Value")],
    )

    def span(left: str, right: str, size: int, opacity: float) -> alt.Chart:
        return base.mark_bar(size=size, color=GREY, opacity=opacity, cornerRadius=2).encode(
            x=alt.X(f"{left}:Q", scale=scale, axis=None), x2=f"{right}:Q"
        )

    median = base.mark_tick(color=INK[theme], thickness=2, size=16).encode(x=alt.X("median:Q", scale=scale, axis=None))
    dot = base.mark_point(filled=True, opacity=1, size=130, stroke=INK[theme], strokeWidth=1).encode(
        x=alt.X("value:Q", scale=scale, axis=None),
        color=alt.condition("datum.outside", alt.value(ORANGE), alt.value(BLUE)),
        shape=alt.condition("datum.outside", alt.value("diamond"), alt.value("circle")),
    )
    layers = [span("start", "end", 3, 0.6), span("low", "high", 10, 0.35), span("inner_low", "inner_high", 18, 0.35)]
    return sized(alt.layer(*layers, median, dot), len(places))
