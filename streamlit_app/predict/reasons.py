"""Why a row got its class, and where it lies among the training data: in words and as rows for charts."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamlit_app.clients.card import CardView, FeatureView
from streamlit_app.components.text import escape, feature_with_value, humanise, number, value_with_unit

# More bars than this do not fit on a phone.
MOST_BARS = 10
# Sentences; the chart has the rest.
MOST_WORDS = 3
# What adds less than this share of the largest contribution is not worth a sentence.
SMALLEST_SHARE = 0.1


@dataclass(frozen=True)
class Reason:
    """What one feature (or what is left of many) adds to the margin of the predicted class."""

    name: str
    text: str
    contribution: float


def reasons_for(card: CardView, row: Mapping[str, float], parts: Mapping[str, float]) -> list[Reason]:
    """The contributions to one class, the strongest first; those of many features end in one sum."""
    known = [feature for feature in card.features if feature.name in parts]
    known.sort(key=lambda feature: -abs(parts[feature.name]))
    shown = known if len(known) <= MOST_BARS else known[: MOST_BARS - 1]
    reasons = [
        Reason(feature.name, feature_with_value(feature, row[feature.name]), parts[feature.name]) for feature in shown
    ]
    if rest := known[len(shown) :]:
        reasons.append(Reason("", f"{len(rest)} others", sum(parts[feature.name] for feature in rest)))
    return reasons


def sentences(reasons: list[Reason], class_name: str) -> list[str]:
    """Markdown: "Petal length 1.4 cm speaks for setosa"."""
    single = [reason for reason in reasons if reason.name]
    largest = max((abs(reason.contribution) for reason in single), default=0.0)
    told = [reason for reason in single if largest and abs(reason.contribution) >= SMALLEST_SHARE * largest]
    return [
        f"{escape(reason.text)} speaks **{'for' if reason.contribution > 0 else 'against'}** {escape(class_name)}"
        for reason in told[:MOST_WORDS]
    ]


def reasons_in_words(reasons: list[Reason], class_name: str) -> str:
    """The chart as one sentence, for who cannot see it."""
    parts = (f"{reason.text} {reason.contribution:+.2f}" for reason in reasons)
    return f"What each feature adds to {class_name}: {', '.join(parts)}."


@dataclass(frozen=True)
class Place:
    """Where one value lies: all numbers are shares of the training range; `outside`: the value is not in it."""

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
    """One place a feature; of many features those outside the training range, and the ones named in `first`."""
    features = list(card.features)
    if len(features) > MOST_BARS:
        wanted = [name for name in first if name]
        rank = {name: index for index, name in enumerate(wanted)}
        features.sort(key=lambda feature: (not _outside(feature, row[feature.name]), rank.get(feature.name, len(rank))))
        features = features[:MOST_BARS]
    return [_place(feature, row[feature.name]) for feature in features]


def outside(card: CardView, row: Mapping[str, float]) -> list[FeatureView]:
    """The features whose value no training row reached."""
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
        # A dot beyond the end of the line says "outside"; how far is told in words.
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
    """ "1.4 cm lies among the lowest 25% of the training rows"."""
    shown = value_with_unit(feature, value)
    ends = f"{number(feature.minimum)} to {number(feature.maximum)}"
    if feature.minimum == feature.maximum:
        ends = f"always {number(feature.minimum)}"
    if _outside(feature, value):
        return f"{shown} lies outside the training range, {ends}"
    below = [share for share, at in feature.quantiles.items() if value < at]
    above = [share for share, at in feature.quantiles.items() if value > at]
    if feature.minimum == feature.maximum or not feature.quantiles:
        return f"{shown} lies in the training range, {ends}"
    if below and min(below) < 0.5:
        return f"{shown} lies among the lowest {min(below):.0%} of the training rows"
    if above and max(above) > 0.5:
        return f"{shown} lies among the highest {1 - max(above):.0%} of the training rows"
    return f"{shown} lies in the middle half of the training rows"


def places_in_words(places: list[Place]) -> str:
    """The chart as one sentence, for who cannot see it."""
    return f"Where the values lie: {'; '.join(f'{place.text} {place.words}' for place in places)}."
