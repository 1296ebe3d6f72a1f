"""Sliders for the features of any card: bounds, step and format computed from the training range."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from streamlit_app.clients.card import FeatureView

# A slider exceeds the training range by this share of its width; the API warns about such values.
MARGIN = Decimal("0.1")
# A slider has this many steps to ten times as many.
MIN_STEPS = 20
# Larger integers are not exact in the browser (2^53 - 1), and Streamlit rejects them.
MAX_INTEGER = 9_007_199_254_740_991
# Finite in the browser even with the margin added.
MAX_FLOAT = Decimal("1e300")
# A narrower range would have steps that round to 0.
MIN_FLOAT = Decimal("1e-300")


@dataclass(frozen=True)
class Slider:
    """The arguments of st.slider for one feature: all int for an integer feature, else all float."""

    minimum: float
    maximum: float
    step: float
    start: float
    format: str
    integer: bool

    def clamp(self, value: float) -> float:
        """Return `value` within the slider's bounds and of its type."""
        # 15 digits: the browser counts in steps and sends 5.1000000000000005 for 5.1.
        inside = min(max(float(f"{value:.15g}"), self.minimum), self.maximum)
        return round(inside) if self.integer else float(inside)


def make_slider(feature: FeatureView) -> Slider:
    """Return the slider of a feature, which may be constant, tiny or huge in the training data."""
    limit = Decimal(MAX_INTEGER) if feature.integer else MAX_FLOAT
    low, high = (_bounded(Decimal(repr(value)), limit) for value in (feature.minimum, feature.maximum))
    # A range below the precision of floats counts as constant.
    if high - low <= max(abs(high) * Decimal("1e-12"), MIN_FLOAT):
        low = high
    width = high - low or (abs(high) if abs(high) > MIN_FLOAT else Decimal(1))
    step = Decimal(10) ** (width / MIN_STEPS).adjusted()
    if feature.integer:
        step = max(step, Decimal(1))
    bottom = ((low - width * MARGIN) / step).to_integral_value(ROUND_FLOOR) * step
    top = ((high + width * MARGIN) / step).to_integral_value(ROUND_CEILING) * step
    # A quantity that was never negative in training probably cannot be.
    bottom = _bounded(max(bottom, Decimal(0)) if low >= 0 else bottom, limit)
    top = _bounded(min(top, Decimal(0)) if high <= 0 and low < 0 else top, limit)
    start = min(max((Decimal(repr(feature.median)) / step).to_integral_value() * step, bottom), top)
    if feature.integer:
        return Slider(int(bottom), int(top), int(step), int(start), "%d", True)
    shown = _format(step, max(abs(bottom), abs(top)))
    return Slider(float(bottom), float(top), float(step), float(start), shown, False)


def _bounded(value: Decimal, limit: Decimal) -> Decimal:
    return min(max(value, -limit), limit)


def _format(step: Decimal, largest: Decimal) -> str:
    """Return a format with enough digits for a step; %g also shows a link's value between two steps unrounded."""
    return f"%.{min(max(largest.adjusted() - step.adjusted() + 1, 6), 15)}g"
