"""Words for the page, made from names in the card."""

import re
from datetime import datetime

from streamlit_app.clients.card import FeatureView


def escape(text: str) -> str:
    """`text` for a place where Streamlit reads Markdown; a name is a name there, never a link or an image."""
    # Parentheses, commas and their like are harmless once brackets are escaped, and screen readers read the backslash.
    return re.sub(r"([!#$&*+./:<>@\[\\\]^_`{|}~-])", r"\\\1", " ".join(text.split()))


def humanise(name: str) -> str:
    """`sepal_length` as "Sepal length"."""
    words = " ".join(re.split(r"[\s_]+", name.strip("_ "))) or name
    return words[:1].upper() + words[1:]


def shorten(text: str, most: int) -> str:
    """`text` in at most `most` characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def label(feature: FeatureView) -> str:
    """The feature's name and unit, escaped: "Sepal length (cm)"."""
    unit = f" ({feature.unit})" if feature.unit else ""
    return escape(humanise(feature.name) + unit)


def number(value: float) -> str:
    """A number as short as it can be told."""
    return f"{value:.6g}"


def training_range(feature: FeatureView) -> str:
    """The values that the model has seen: "trained on 4.3 to 7.9"."""
    if feature.minimum == feature.maximum:
        return f"always {number(feature.minimum)} in training"
    return f"trained on {number(feature.minimum)} to {number(feature.maximum)}"


def percent(probability: float) -> str:
    """A share as percent; what is not quite none or all does not read as such."""
    if 0 < probability < 0.001:
        return "< 0.1%"
    if 0.999 < probability < 1:
        return "> 99.9%"
    return f"{probability:.1%}"


def value_with_unit(feature: FeatureView, value: float) -> str:
    """ "1.4 cm"."""
    return f"{number(value)} {feature.unit}".strip()


def feature_with_value(feature: FeatureView, value: float) -> str:
    """ "Petal length 1.4 cm", "Pixel 2 5 = 9"."""
    sign = "" if feature.unit else "= "
    return f"{humanise(feature.name)} {sign}{value_with_unit(feature, value)}"


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 row", "12,000 rows"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def moment(told: str) -> str:
    """A moment of ISO 8601 in UTC: "21 Nov 2026, 15:27:04"; what is none stays as it is."""
    try:
        return f"{datetime.fromisoformat(told):%d %b %Y, %H:%M:%S}".lstrip("0")
    except ValueError:
        return told
