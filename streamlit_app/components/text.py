"""Text for pages, made from names and numbers of the card."""

import re
from datetime import datetime

from streamlit_app.clients.card import FeatureView

ESTIMATORS = {"xgboost": "XGBoost", "random-forest": "Random forest", "logistic-regression": "Logistic regression"}


def escape(text: str) -> str:
    """Escape `text` for Markdown, so that a name is never a link, an image or a formula."""
    # Parentheses and commas are harmless once brackets are escaped, and screen readers read the backslash.
    return re.sub(r"([!#$&*+./:<>@\[\\\]^_`{|}~-])", r"\\\1", " ".join(text.split()))


def humanise(name: str) -> str:
    """Return `sepal_length` as "Sepal length"."""
    words = " ".join(re.split(r"[\s_]+", name.strip("_ "))) or name
    return words[:1].upper() + words[1:]


def estimator_name(name: str) -> str:
    """Return `random-forest` as "Random forest"."""
    return ESTIMATORS.get(name, humanise(name.replace("-", " ")))


def shorten(text: str, max_length: int) -> str:
    """Cut `text` to at most `max_length` characters."""
    return text if len(text) <= max_length else text[: max_length - 1].rstrip() + "…"


def label(feature: FeatureView) -> str:
    """Return the feature's name and unit, escaped: "Sepal length (cm)"."""
    unit = f" ({feature.unit})" if feature.unit else ""
    return escape(humanise(feature.name) + unit)


def number(value: float) -> str:
    """Return a number with at most six digits."""
    return f"{value:.6g}"


def training_range(feature: FeatureView) -> str:
    """Return the feature's range in the training data: "4.3 to 7.9", or "always 0"."""
    if feature.minimum == feature.maximum:
        return f"always {number(feature.minimum)}"
    return f"{number(feature.minimum)} to {number(feature.maximum)}"


def percent(probability: float) -> str:
    """Return a share as percent; a share that is nearly 0 or 1 is not rounded to it."""
    if 0 < probability < 0.001:
        return "< 0.1%"
    if 0.999 < probability < 1:
        return "> 99.9%"
    return f"{probability:.1%}"


def value_with_unit(feature: FeatureView, value: float) -> str:
    """Return "1.4 cm"."""
    return f"{number(value)} {feature.unit}".strip()


def feature_with_value(feature: FeatureView, value: float) -> str:
    """Return "Petal length 1.4 cm", or "Pixel 2 5 = 9" without a unit."""
    sign = "" if feature.unit else "= "
    return f"{humanise(feature.name)} {sign}{value_with_unit(feature, value)}"


def plural(count: int, one: str, many: str = "") -> str:
    """Return "1 row" or "12,000 rows"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def moment(iso: str) -> str:
    """Return a time in ISO 8601 as "21 Nov 2026, 15:27:04"; a text that is not a time stays as it is."""
    try:
        return f"{datetime.fromisoformat(iso):%d %b %Y, %H:%M:%S}".lstrip("0")
    except ValueError:
        return iso
