"""A straight line through points, and how sure its slope is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Trend:
    """Slope of y over x, and the standard error of that slope."""

    slope: float
    standard_error: float


def fit(x: Sequence[float], y: Sequence[float]) -> Trend:
    """Least squares.

    Raises:
        ValueError: fewer than three points, or all at the same x: a slope has no error then.
    """
    count = len(x)
    if count != len(y) or count < 3 or len(set(x)) < 2:
        raise ValueError("a trend needs at least three points with different x")
    mean_x, mean_y = sum(x) / count, sum(y) / count
    spread = sum((value - mean_x) ** 2 for value in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    residue = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    return Trend(slope, math.sqrt(residue / (count - 2) / spread))
