"""The plots for MLflow: well-formed for every class name, and with the numbers in them."""

import re
from xml.dom.minidom import Document, parseString

import pytest

from model_training.registry.plots import Point, accuracy_over_time, confusion_matrix


def texts(document: Document, tag: str) -> list[str]:
    return [node.firstChild.data for node in document.getElementsByTagName(tag) if node.firstChild]  # type: ignore[attr-defined]


def parse(svg: str) -> Document:
    return parseString(svg.encode())  # noqa: S318 # Written by this project.


def test_the_matrix_shows_each_count_with_a_tooltip() -> None:
    document = parse(confusion_matrix(["setosa", "versicolor"], [[9, 1], [0, 10]]))
    titles = texts(document, "title")
    assert "setosa predicted as versicolor: 1" in titles
    assert "versicolor predicted as setosa: 0" in titles
    assert [text for text in texts(document, "text") if text.isdigit()] == ["9", "1", "10"]
    shades = [float(cell.getAttribute("fill-opacity")) for cell in document.getElementsByTagName("rect")[1:]]
    assert shades == [0.9, 0.1, 0.0, 1.0]


@pytest.mark.parametrize("name", ["<b>&\"'", "a\x00\x1b[31mb", "\ud800", "]]>", "x" * 500])
def test_a_plot_is_well_formed_for_every_class_name(name: str) -> None:
    parse(confusion_matrix([name, "other"], [[1, 0], [0, 0]]))
    parse(accuracy_over_time([Point(name, name, 0.5, True)]))


def test_the_line_shows_every_version_and_fills_champions() -> None:
    points = [Point(f"v{index}", f"2026-11-2{index}T00:00:00Z", 0.8 + index / 20, index != 1) for index in range(3)]
    document = parse(accuracy_over_time(points))
    dots = document.getElementsByTagName("circle")
    heights = [float(dot.getAttribute("cy")) for dot in dots]
    assert heights == sorted(heights, reverse=True)
    assert [dot.getAttribute("fill") == "#ffffff" for dot in dots] == [False, True, False]
    assert "v1, trained 2026-11-21T00:00:00Z: 0.8500" in texts(document, "title")


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_the_scale_contains_the_extremes(accuracy: float) -> None:
    svg = accuracy_over_time([Point("a", "2026-11-21", accuracy, True), Point("b", "2026-11-22", accuracy, True)])
    [height] = re.findall(r'viewBox="0 0 \d+ (\d+)"', svg)
    assert all(0 < float(dot.getAttribute("cy")) < float(height) for dot in parse(svg).getElementsByTagName("circle"))
