"""Sliders for ordinary and for awkward features."""

import pytest

from streamlit_app.clients.card import FeatureView
from streamlit_app.predict.sliders import MAX_INTEGER, make_slider


def feature(minimum: float, maximum: float, median: float | None = None, integer: bool = False) -> FeatureView:
    middle = minimum / 2 + maximum / 2 if median is None else median
    return FeatureView("x", "", integer, float(minimum), float(maximum), float(middle))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (feature(4.3, 7.9, 5.8), (3.9, 8.3, 0.1, 5.8)),
        (feature(0.1, 2.5, 1.3), (0.0, 2.8, 0.1, 1.3)),
        (feature(-20, -1, -5), (-21.9, 0.0, 0.1, -5.0)),
        (feature(-1, 1, 0), (-1.2, 1.2, 0.1, 0.0)),
        (feature(278, 1680, 673.5), (130, 1830, 10, 670)),
        (feature(0, 16, 3, integer=True), (0, 18, 1, 3)),
        (feature(0, 0, 0, integer=True), (0, 1, 1, 0)),
        (feature(0, 1, 1, integer=True), (0, 2, 1, 1)),
        (feature(5, 5), (4.5, 5.5, 0.1, 5.0)),
        (feature(0, 0), (0.0, 0.1, 0.01, 0.0)),
    ],
)
def test_bounds_step_and_start(given, expected):
    slider = make_slider(given)
    assert (slider.minimum, slider.maximum, slider.step, slider.start) == expected
    assert type(slider.start) is (int if given.integer else float)


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize(
    ("minimum", "maximum"),
    [
        (-1.7e308, 1.7e308),
        (1e300, 1.7e308),
        (0, 5e-324),
        (1e-12, 2e-12),
        (1e6, 1e6 + 1e-3),
        (1e20, 1e20 + 1e4),
        (-(2**53), 2**53),
        (2**60, 2**62),
        (-7, -7),
        (3, 10**9),
    ],
)
def test_awkward_ranges_still_make_a_slider(minimum, maximum, integer):
    slider = make_slider(feature(minimum, maximum, integer=integer))
    assert slider.minimum < slider.maximum
    assert slider.minimum <= slider.start <= slider.maximum
    assert 0 < slider.step <= slider.maximum - slider.minimum
    if integer:
        assert {type(value) for value in (slider.minimum, slider.maximum, slider.step, slider.start)} == {int}
        assert slider.minimum >= -MAX_INTEGER
        assert slider.maximum <= MAX_INTEGER
    assert (slider.format % slider.start).strip()


def test_neighbouring_steps_look_different():
    for slider in (
        make_slider(feature(4.3, 7.9)),
        make_slider(feature(1e6, 1e6 + 1)),
        make_slider(feature(1e-9, 2e-9)),
    ):
        assert slider.format % slider.start != slider.format % (slider.start + slider.step)


def test_clamp_removes_the_noise_of_binary_steps():
    slider = make_slider(feature(4.3, 7.9))
    assert slider.clamp(5.1000000000000005) == 5.1
    assert slider.clamp(5.13) == 5.13
    assert slider.clamp(-1) == slider.minimum
    assert slider.clamp(1e308) == slider.maximum
