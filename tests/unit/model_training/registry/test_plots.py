"""The plot for MLflow: well-formed for every class name, and with the numbers in it."""

from xml.dom.minidom import Document, parseString

import pytest

from model_training.registry.plots import confusion_matrix


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
