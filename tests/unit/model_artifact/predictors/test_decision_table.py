"""The table gives the bits of XGBoost at and next to every threshold; other tables are rejected."""

import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xgboost

from model_artifact.errors import DecisionTableError
from model_artifact.predictors import decision_table
from model_artifact.predictors.decision_table import (
    DecisionTable,
    build_table,
    read_thresholds,
    tabulate,
    verification_rows,
    verify_table,
)
from model_artifact.predictors.native_booster import NativeBooster
from model_training.data.datasets import load_iris
from model_training.model import IrisModel


def native(X: np.ndarray, y: np.ndarray, rounds: int = 10, **parameters: Any) -> NativeBooster:
    settings = {"objective": "multi:softprob", "num_class": int(y.max()) + 1, "nthread": 1, **parameters}
    booster = xgboost.train(settings, xgboost.DMatrix(X, label=y, nthread=1), num_boost_round=rounds)
    return NativeBooster(bytes(booster.save_raw("ubj")))


@pytest.fixture(scope="module")
def booster() -> NativeBooster:
    iris = load_iris()
    return native(iris.X, iris.y)


def neighbours(thresholds: list[np.ndarray], count: int, seed: int) -> np.ndarray:
    """Return rows whose values are thresholds, their neighbours, or missing."""
    chance = np.random.default_rng(seed)
    columns = []
    for values in thresholds:
        values = values if len(values) else np.zeros(1, dtype=np.float32)
        below, above = np.nextafter(values, np.float32(-np.inf)), np.nextafter(values, np.float32(np.inf))
        near = np.concatenate([values, below, above, np.float32([np.nan, 0, -0.0, 1e-45, 3.4e38, -3.4e38])])
        columns.append(chance.choice(near, size=count))
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("features", "classes", "decimals", "depth"),
    [(1, 2, 3, 6), (2, 3, 1, 6), (3, 2, 1, 3), (4, 4, 0, 6), (6, 3, 0, 2), (30, 2, 0, 1)],
)
def test_it_gives_xgboosts_bits_at_and_next_to_every_threshold(
    features: int, classes: int, decimals: int, depth: int
) -> None:
    chance = np.random.default_rng(features)
    X = np.round(chance.normal(scale=2, size=(400, features)), decimals)
    X[chance.random(X.shape) < 0.05] = np.nan
    y = np.arange(400) % classes
    # So few stumps on 30 features that most features have no threshold.
    booster = native(X, y, rounds=3 if features == 30 else 10, max_depth=depth)
    table = tabulate(booster)
    thresholds, _ = read_thresholds(booster)
    assert table.n_cells == np.prod([len(values) + 2 for values in thresholds if len(values)])
    rows = neighbours(thresholds, 20_000, seed=classes)
    expected = booster.predict(rows)
    assert table.predict(rows).tobytes() == expected.tobytes()
    assert [table.predict_one(row) for row in rows[:3000].tolist()] == expected[:3000].tolist()


def test_a_feature_with_hundreds_of_thresholds_is_searched() -> None:
    X = np.random.default_rng(0).normal(size=(3000, 1))
    booster = native(X, (np.sin(X[:, 0] * 100) > 0).astype(int), rounds=30)
    table = tabulate(booster)
    thresholds, _ = read_thresholds(booster)
    assert len(thresholds[0]) > decision_table._MAX_COMPARED_THRESHOLDS
    rows = np.concatenate([neighbours(thresholds, 5000, 1), np.float32([[np.inf], [-np.inf], [np.nan]])])
    assert table.predict(rows).tobytes() == booster.predict(rows).tobytes()


def test_infinities_do_not_count_as_missing(booster: NativeBooster) -> None:
    table = tabulate(booster)
    rows = np.array(
        [[np.inf, 3, np.nan, 1], [-np.inf, 3, 4, np.inf], [np.inf, -np.inf, 4, 1], [np.nan] * 4], dtype=np.float32
    )
    expected = booster.predict(rows)
    assert table.predict(rows).tobytes() == expected.tobytes()
    assert [table.predict_one(row) for row in rows.tolist()] == expected.tolist()


def test_a_double_is_rounded_to_float32_before_it_is_placed(booster: NativeBooster) -> None:
    """Rounding can cross a threshold: without it, 61 of 10,000 such rows were wrong."""
    table = tabulate(booster)
    thresholds, _ = read_thresholds(booster)
    moved = 0
    for feature, values in enumerate(thresholds):
        for threshold in values.tolist():
            row = [5.8, 3.0, 4.3, 1.3]
            row[feature] = np.nextafter(threshold, -np.inf)
            assert np.float32(row[feature]) == threshold
            expected = booster.predict(np.array([row], dtype=np.float32))[0].tolist()
            assert table.predict_one(row) == expected
            row[feature] = float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
            moved += expected != booster.predict(np.array([row], dtype=np.float32))[0].tolist()
    assert moved, "no threshold of this model changes this row, so the test shows nothing"


def test_no_rows_and_many_rows(booster: NativeBooster) -> None:
    table = tabulate(booster)
    assert table.predict(np.empty((0, 4), dtype=np.float32)).shape == (0, 3)
    rows = neighbours(read_thresholds(booster)[0], decision_table._CHUNK_ROWS * 2 + 1, seed=3)
    assert np.array_equal(table.predict(rows), booster.predict(rows))
    assert np.array_equal(table.predict(np.asfortranarray(rows)), booster.predict(rows))


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([1, 2, 3], struct.error),
        ([1, 2, 3, 4, 5], struct.error),
        ([1, 2, 3, "4"], struct.error),
        ([1, 2, 3, 1e39], OverflowError),
    ],
)
def test_invalid_rows_are_rejected(booster: NativeBooster, values: list[float], error: type[Exception]) -> None:
    with pytest.raises(error):
        tabulate(booster).predict_one(values)


# Verification


def test_verification_covers_every_threshold_its_neighbours_and_missing_values(booster: NativeBooster) -> None:
    thresholds, _ = read_thresholds(booster)
    rows = verification_rows(thresholds)
    assert len(rows) >= 20_000
    assert np.array_equal(rows, verification_rows(thresholds), equal_nan=True), "the rows must be the same every time"
    for column, values in zip(rows.T, thresholds, strict=True):
        assert np.isnan(column).any() and not np.isnan(column).all()
        for critical in (values, np.nextafter(values, np.float32(-np.inf)), np.nextafter(values, np.float32(np.inf))):
            assert np.isin(critical, column).all()


def _moved_threshold(thresholds: list[np.ndarray], cells: np.ndarray) -> Any:
    """Move a threshold by the smallest step of float32."""
    thresholds[2] = thresholds[2].copy()
    thresholds[2][1] = np.nextafter(thresholds[2][1], np.float32(np.inf))


def _no_missing(thresholds: list[np.ndarray], cells: np.ndarray) -> Any:
    shape = [len(values) + 2 for values in thresholds] + [3]
    last = cells.reshape(shape)
    last[:, :, -1] = last[:, :, 0]


def _one_cell(thresholds: list[np.ndarray], cells: np.ndarray) -> Any:
    cells[0] += 2e-6


def _swapped_classes(thresholds: list[np.ndarray], cells: np.ndarray) -> Any:
    cells[:] = cells[:, [1, 0, 2]]


def _not_a_number(thresholds: list[np.ndarray], cells: np.ndarray) -> Any:
    cells[0] = np.nan


def _other_width(thresholds: list[np.ndarray], cells: np.ndarray) -> Any:
    return thresholds, cells[:, :2]


@pytest.mark.parametrize(
    "tamper", [_moved_threshold, _no_missing, _one_cell, _swapped_classes, _not_a_number, _other_width]
)
def test_a_table_that_differs_from_xgboost_is_rejected(
    booster: NativeBooster, tamper: Callable[[list[np.ndarray], np.ndarray], Any]
) -> None:
    thresholds, n_trees = read_thresholds(booster)
    good = build_table(booster, thresholds, n_trees)
    verify_table(good, booster, thresholds)
    cells = good._probabilities.copy()
    changed = list(thresholds)
    changed, cells = tamper(changed, cells) or (changed, cells)
    with pytest.raises(DecisionTableError, match=r"a row gets another class|the probability of a row differs"):
        verify_table(DecisionTable(changed, cells), booster, thresholds)


def test_single_rows_are_verified_too(booster: NativeBooster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single rows use separate code."""
    thresholds, n_trees = read_thresholds(booster)
    table = build_table(booster, thresholds, n_trees)
    right = DecisionTable.predict_one
    monkeypatch.setattr(
        DecisionTable, "predict_one", lambda self, row: [value + 1e-3 * (row[0] == 0) for value in right(self, row)]
    )
    with pytest.raises(DecisionTableError, match=r"differs by 0\.001"):
        verify_table(table, booster, thresholds)


# Boosters without a table


def test_too_many_cells_have_no_table() -> None:
    chance = np.random.default_rng(0)
    X = chance.normal(size=(500, 8))
    with pytest.raises(DecisionTableError, match="cells, more than 262144"):
        tabulate(native(X, np.arange(500) % 2, rounds=20))


def test_hundreds_of_features_are_counted_and_not_computed() -> None:
    chance = np.random.default_rng(0)
    X = chance.normal(size=(300, 500))
    with pytest.raises(DecisionTableError, match="cells, more than"):
        tabulate(native(X, np.arange(300) % 2, rounds=60))


def test_too_much_work_and_too_large_a_table_are_rejected(
    booster: NativeBooster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(decision_table, "MAX_FILL_STEPS", 1000)
        with pytest.raises(DecisionTableError, match="30 trees take too long"):
            tabulate(booster)
    monkeypatch.setattr(decision_table, "MAX_TABLE_BYTES", 1000)
    with pytest.raises(DecisionTableError, match="more than 1000 bytes"):
        tabulate(booster)


@pytest.mark.parametrize("kind", ["dart", "gblinear"])
# Newer releases have other names for them.
@pytest.mark.filterwarnings("ignore")
def test_other_boosters_have_no_table_or_one_that_equals_them(kind: str) -> None:
    iris = load_iris()
    booster = native(iris.X, iris.y, rounds=4, booster=kind)
    try:
        table = tabulate(booster)
    except DecisionTableError as reason:
        assert f"it is a {kind}, not gbtree" in str(reason) or "trees in an unknown form" in str(reason)
    else:
        rows = neighbours(read_thresholds(booster)[0], 5000, seed=1)
        assert table.predict(rows).tobytes() == booster.predict(rows).tobytes()


def test_splits_by_category_have_no_table() -> None:
    X = np.arange(200).reshape(-1, 1) % 5
    data = xgboost.DMatrix(X, label=X[:, 0] % 2, feature_types=["c"], enable_categorical=True, nthread=1)
    parameters = {"objective": "multi:softprob", "num_class": 2, "nthread": 1, "tree_method": "hist"}
    booster = xgboost.train(parameters, data, num_boost_round=2)
    with pytest.raises(DecisionTableError, match="by categories"):
        tabulate(NativeBooster(bytes(booster.save_raw("ubj"))))


# The model


def test_a_specialised_model_gives_the_same_bits_and_explains_the_same() -> None:
    iris = load_iris()
    model = IrisModel(n_estimators=5).train(iris.X, iris.y)
    assert model.card_fields()["table_cells"] == 0 and model.predictor == "xgboost"
    before = model.predict_proba(iris.X)
    one_by_one = [model.predict_one(row) for row in iris.X.tolist()]
    assert one_by_one == before.tolist()
    pickled = pickle.dumps(model)
    model.specialise()
    assert model.predictor == "decision table" and model.card_fields()["table_cells"] > 100
    assert model.predict_proba(iris.X).tobytes() == before.tobytes()
    assert [model.predict_one(row) for row in iris.X.tolist()] == one_by_one
    assert np.array_equal(model.predict(iris.X), before.argmax(axis=1))
    assert pickle.dumps(model) == pickled, "each load builds the table from the trees; no file holds it"
    assert pickle.loads(pickled).predictor == "xgboost"
    model.train(iris.X[:100], iris.y[:100])
    assert model.predictor == "xgboost", "a table of trees that are gone must not answer"


def test_a_model_that_has_no_table_is_served_by_xgboost(booster: NativeBooster) -> None:
    chance = np.random.default_rng(0)
    X = chance.normal(size=(500, 8))
    model = IrisModel(n_estimators=20).train(X, np.arange(500) % 2)
    model.specialise()
    assert model.card_fields()["table_cells"] == 0 and model.predictor == "xgboost"
    assert [model.predict_one(row) for row in X.tolist()] == model.predict_proba(X).tolist()
