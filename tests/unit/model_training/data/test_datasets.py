"""The tables to train from."""

from dataclasses import replace

import numpy as np
import pytest

from model_training.data.datasets import DATASETS, Column, Dataset, load_digits, load_iris


def test_iris_is_fishers() -> None:
    iris = load_iris()
    assert [column.name for column in iris.columns] == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    assert {column.unit for column in iris.columns} == {"cm"}
    assert iris.classes == ("setosa", "versicolor", "virginica")
    assert iris.X[0].tolist() == [5.1, 3.5, 1.4, 0.2]
    assert np.bincount(iris.y).tolist() == [50, 50, 50]


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_data_set_can_be_trained_from(name: str) -> None:
    data = DATASETS[name]()
    assert data.name == name
    assert data.X.shape == (len(data.y), len(data.columns))
    assert np.isfinite(data.X).all()
    assert np.unique(data.y).tolist() == list(range(len(data.classes)))


def test_digest_is_this_number_on_every_machine() -> None:
    """Every model card contains it; if it changed, cards of the same data would differ."""
    assert load_iris().sha256 == load_iris().sha256
    assert load_iris().sha256 == replace(load_iris(), X=np.asfortranarray(load_iris().X)).sha256
    assert load_iris().sha256 == "5f7d3becf2d136bc07c54bca33e3145b3c3560ae4f98a7a773bcea63713e899f"


def test_digest_distinguishes_data() -> None:
    iris = load_iris()
    X, y = iris.X.copy(), iris.y.copy()
    X[149, 3] = np.nextafter(X[149, 3], 9)
    y[149] = 0
    columns = (Column("girth", "cm", "float"), *iris.columns[1:])
    others = [replace(iris, X=X), replace(iris, y=y), replace(iris, columns=columns), replace(iris, classes=("a", "b"))]
    assert len({iris.sha256, *(other.sha256 for other in others)}) == 5


def test_digits_are_pictures() -> None:
    """Row by row from the top left: a three begins with the same pixels in the table and in the picture."""
    digits = load_digits()
    assert (digits.target, digits.classes) == ("digit", tuple("0123456789"))
    assert digits.picture and (digits.picture.width, digits.picture.height) == (8, 8)
    assert (digits.picture.minimum, digits.picture.maximum) == (digits.X.min(), digits.X.max()) == (0, 16)
    assert [column.name for column in digits.columns[7:10]] == ["pixel_0_7", "pixel_1_0", "pixel_1_1"]
    assert {column.dtype for column in digits.columns} == {"integer"}


def test_digest_does_not_depend_on_the_parts_or_the_kind_of_nan() -> None:
    """The digest is computed in parts, and a missing value has one form."""
    X = np.random.default_rng(0).normal(size=(70_000, 2))
    large = Dataset("large", (Column("a", None, "float"), Column("b", None, "float")), ("x",), X, np.zeros(70_000, int))
    assert large.sha256 == replace(large, X=np.asfortranarray(X)).sha256
    assert large.sha256 != replace(large, X=X[::-1]).sha256
    gaps = [np.full((70_000, 2), value) for value in (np.nan, -np.nan)]
    assert replace(large, X=gaps[0]).sha256 == replace(large, X=gaps[1]).sha256
