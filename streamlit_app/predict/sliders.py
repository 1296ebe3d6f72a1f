"""Sliders for the features of any card: bounds, step and format computed from the training range."""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from streamlit_app.clients.card import FeatureView

# How far a slider goes beyond the training range, as a share of its width; the API warns about such values.
MARGIN = Decimal("0.1")
# A slider has between this many steps and ten times as many.
FEWEST_STEPS = 20
# Integers beyond this are not exact in the browser (2^53 - 1), and streamlit refuses them.
LARGEST_INTEGER = 9_007_199_254_740_991
# Finite in the browser even after the margin is added.
LARGEST_FLOAT = Decimal("1e300")
# Ranges narrower than this would have steps that round to nothing.
SMALLEST_FLOAT = Decimal("1e-300")


@dataclass(frozen=True)
class Slider:
    """What st.slider takes for one feature: all int for an integer feature, else all float."""

    minimum: float
    maximum: float
    step: float
    start: float
    format: str
    integer: bool

    def clamp(self, value: float) -> float:
        """`value` within the slider's bounds and of its type."""
        # 15 digits: the browser counts in steps and sends 5.1000000000000005 for 5.1.
        inside = min(max(float(f"{value:.15g}"), self.minimum), self.maximum)
        return round(inside) if self.integer else float(inside)

    def parse(self, text: str) -> float | None:
        """The value that a link names, clamped; None when it names no number."""
        try:
            value = float(text)
        except ValueError:
            return None
        return self.clamp(value) if math.isfinite(value) else None


def make_slider(feature: FeatureView) -> Slider:
    """The slider of one feature; also for a feature that was constant, tiny or huge in the training data."""
    limit = Decimal(LARGEST_INTEGER) if feature.integer else LARGEST_FLOAT
    low, high = (_bounded(Decimal(repr(value)), limit) for value in (feature.minimum, feature.maximum))
    # Narrower than floats can tell apart counts as constant.
    if high - low <= max(abs(high) * Decimal("1e-12"), SMALLEST_FLOAT):
        low = high
    width = high - low or (abs(high) if abs(high) > SMALLEST_FLOAT else Decimal(1))
    step = Decimal(10) ** (width / FEWEST_STEPS).adjusted()
    if feature.integer:
        step = max(step, Decimal(1))
    bottom = ((low - width * MARGIN) / step).to_integral_value(ROUND_FLOOR) * step
    top = ((high + width * MARGIN) / step).to_integral_value(ROUND_CEILING) * step
    # A quantity that was never negative in training hardly ever can be.
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
    """Digits enough to tell steps apart; %g also shows a link's value between two steps as it is."""
    return f"%.{min(max(largest.adjusted() - step.adjusted() + 1, 6), 15)}g"
