"""The tables to train from."""

from dataclasses import replace

import numpy as np
import pytest

from model_training.data_loader import DATASETS, Column, load_iris


def test_iris_is_fishers() -> None:
    iris = load_iris()
    assert [column.name for column in iris.columns] == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    assert {column.unit for column in iris.columns} == {"cm"}
    assert iris.classes == ("setosa", "versicolor", "virginica")
    assert iris.X[0].tolist() == [5.1, 3.5, 1.4, 0.2]
    assert np.bincount(iris.y).tolist() == [50, 50, 50]


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_data_set_is_fit_to_train_from(name: str) -> None:
    data = DATASETS[name]()
    assert data.name == name
    assert data.X.shape == (len(data.y), len(data.columns))
    assert np.isfinite(data.X).all()
    assert np.unique(data.y).tolist() == list(range(len(data.classes)))


def test_digest_is_this_number_on_every_machine() -> None:
    """It is in every model card; if it changes, cards of the same data no longer agree."""
    assert load_iris().sha256 == load_iris().sha256
    assert load_iris().sha256 == replace(load_iris(), X=np.asfortranarray(load_iris().X)).sha256
    assert load_iris().sha256 == "5f7d3becf2d136bc07c54bca33e3145b3c3560ae4f98a7a773bcea63713e899f"


def test_digest_tells_data_apart() -> None:
    iris = load_iris()
    X, y = iris.X.copy(), iris.y.copy()
    X[149, 3] = np.nextafter(X[149, 3], 9)
    y[149] = 0
    columns = (Column("girth", "cm", "float"), *iris.columns[1:])
    others = [replace(iris, X=X), replace(iris, y=y), replace(iris, columns=columns), replace(iris, classes=("a", "b"))]
    assert len({iris.sha256, *(other.sha256 for other in others)}) == 5
