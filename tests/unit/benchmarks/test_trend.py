"""The slope of memory over requests."""

import numpy as np
import pytest

from benchmarks.trend import fit


def test_slope_and_error_are_those_of_numpy() -> None:
    x = np.arange(20.0)
    y = 100 + 0.3 * x + np.random.default_rng(1).normal(0, 2, 20)
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    trend = fit(x.tolist(), y.tolist())
    assert trend.slope == pytest.approx(slope)
    assert trend.standard_error == pytest.approx(float(np.sqrt(covariance[0, 0])))


def test_a_line_has_no_error() -> None:
    trend = fit([0.0, 1.0, 2.0], [5.0, 7.0, 9.0])
    assert (trend.slope, trend.standard_error) == (2.0, 0.0)


@pytest.mark.parametrize(("x", "y"), [([1.0, 2.0], [1.0, 2.0]), ([3.0] * 3, [1.0, 2.0, 3.0]), ([1.0] * 3, [1.0])])
def test_what_has_no_slope_is_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="three points"):
        fit(x, y)
