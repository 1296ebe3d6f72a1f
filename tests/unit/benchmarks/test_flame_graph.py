"""The flame graph: widths are weights, and names cannot break the SVG."""

from xml.etree import ElementTree

import pytest

from benchmarks.flame_graph import svg

_SPACE = "{http://www.w3.org/2000/svg}"


def test_a_frame_is_as_wide_as_its_share_and_stands_within_its_caller() -> None:
    text = svg({("main", "a"): 30.0, ("main", "b<&>"): 10.0, ("other",): 40.0}, "title", "us")
    drawn = ElementTree.fromstring(text)  # noqa: S314
    boxes = {
        group.findtext(f"{_SPACE}title"): {
            name: float(value) for name, value in rect.items() if name in ("x", "width", "y")
        }
        for group in drawn.iter(f"{_SPACE}g")
        for rect in group.iter(f"{_SPACE}rect")
    }
    assert boxes["main: 40.0 us"]["width"] == pytest.approx(600)
    assert boxes["a: 30.0 us"] == {"x": 0.0, "width": 450.0, "y": boxes["main: 40.0 us"]["y"] + 16}
    assert boxes["b<&>: 10.0 us"]["x"] == 450.0
    assert boxes["other: 40.0 us"]["x"] == 600.0


def test_what_nobody_could_see_is_left_out() -> None:
    assert "tiny" not in svg({("main",): 1e6, ("tiny",): 1.0}, "title", "us")
