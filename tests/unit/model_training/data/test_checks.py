"""The checks of a table before a training."""

from typing import Any

import numpy as np
import pytest

from model_training.configuration import Configuration
from model_training.data.checks import Findings, check, folds_for, rows_needed
from model_training.data.datasets import DATASETS, Column, Dataset

CHANCE = np.random.default_rng(0)
N = 400
LABELS = np.arange(N) % 2
NOISE = CHANCE.normal(size=N)


def dataset(
    labels: Any = LABELS, classes: tuple[str, ...] = ("no", "yes"), whole: tuple[str, ...] = (), **columns: Any
):
    columns = columns or {"noise": NOISE}
    return Dataset(
        name="table",
        columns=tuple(Column(name, None, "integer" if name in whole else "float") for name in columns),
        classes=classes,
        X=np.column_stack([np.asarray(values, dtype=float) for values in columns.values()]),
        y=np.asarray(labels),
        target="kind",
    )


def found(data: Dataset, **settings: Any) -> Findings:
    return check(data, Configuration(**settings))


def only_error(data: Dataset, **settings: Any) -> str:
    (error,) = found(data, **settings).errors
    return error


def only_warning(data: Dataset, **settings: Any) -> str:
    findings = found(data, **settings)
    assert findings.errors == ()
    (warning,) = findings.warnings
    return warning


def with_gaps(values: np.ndarray, every: int) -> np.ndarray:
    values = np.array(values, dtype=float)
    values[::every] = np.nan
    return values


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_built_in_tables_have_no_findings(name: str) -> None:
    assert check(DATASETS[name](), Configuration()) == Findings((), ())


def test_one_class_is_an_error() -> None:
    assert only_error(dataset(np.zeros(N, dtype=int), ("no",))).startswith("Every row has the same kind, no;")


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, 5),
        ({"test_size": 0.1}, 10),
        ({"test_size": 0.9}, 10),
        ({"folds": 0}, 5),
        ({"folds": 0, "test_size": 0.5}, 2),
        ({"folds": 12}, 12),
        ({"search": 3}, 7),
    ],
)
def test_each_class_needs_rows_for_split_and_folds(settings: dict[str, Any], needed: int) -> None:
    """The required number is enough for the split and the folds; one row fewer is an error that names the class."""
    from sklearn.model_selection import StratifiedKFold

    from model_training.training import split

    labels = (np.arange(200) >= 200 - needed).astype(int)
    data = dataset(labels, noise=CHANCE.normal(size=200))
    configuration = Configuration(**settings)
    assert rows_needed(configuration, 200) == needed
    assert check(data, configuration).errors == ()
    train, test = split(data, configuration.test_size, 1)
    assert labels[train].any() and labels[test].any()
    if configuration.folds != 0:
        folds = StratifiedKFold(folds_for(configuration, 200))
        assert all(labels[part].any() for _, part in folds.split(labels, labels))
    labels[-1] = 0
    error = only_error(dataset(labels, noise=CHANCE.normal(size=200)), **settings)
    assert f"Each class needs at least {needed} rows" in error and f"yes ({needed - 1})" in error


def test_a_table_without_features_is_an_error() -> None:
    empty = Dataset("table", (), ("no", "yes"), np.empty((N, 0)), LABELS)
    assert "no column to learn from" in only_error(empty)
    assert "every column holds one value only" in only_error(dataset(a=np.ones(N), b=np.zeros(N))).lower()


@pytest.mark.parametrize("copy", [LABELS * 7.5 - 1, 1 - LABELS])
def test_a_copy_of_the_target_is_an_error(copy: np.ndarray) -> None:
    error = only_error(dataset(noise=NOISE, score=copy))
    assert error.startswith("Column score is a copy of kind") and "--ignore score" in error


def test_a_near_copy_of_the_target_is_a_warning() -> None:
    almost = LABELS.astype(float)
    almost[5] = 1 - almost[5]
    for leak in (almost, LABELS + NOISE / 100):
        warning = only_warning(dataset(noise=NOISE, score=leak))
        assert warning.startswith("Column score predicts kind alone") and "--ignore score" in warning
    missing = np.where(LABELS == 1, np.nan, NOISE)
    assert any("predicts kind alone" in text for text in found(dataset(noise=NOISE, score=missing)).warnings)


def test_a_good_feature_is_not_reported() -> None:
    assert found(dataset(noise=NOISE, good=LABELS + NOISE)).warnings == ()


def test_with_a_rare_class_not_every_column_is_reported() -> None:
    labels = (np.arange(10_000) % 500 == 0).astype(int)
    (warning,) = found(dataset(labels, noise=CHANCE.normal(size=10_000))).warnings
    assert warning.startswith("The classes are unbalanced: 9,980 rows are no, 20 are yes;")


def test_missing_values_are_a_warning_for_trees_and_an_error_for_a_linear_model() -> None:
    data = dataset(noise=with_gaps(NOISE, 4), more=NOISE[::-1])
    assert only_warning(data).startswith(
        "Column noise (25.0%) has missing values: the model learns from such rows, but"
    )
    assert "logistic-regression cannot learn from" in only_error(data, estimator="logistic-regression")


def test_a_column_with_missing_values_only_is_an_error() -> None:
    assert only_error(dataset(noise=NOISE, gone=np.full(N, np.nan))).startswith("Column gone has no value at all")


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39])
def test_a_value_beyond_float32_is_an_error(value: float) -> None:
    values = NOISE.copy()
    values[7] = value
    assert only_error(dataset(noise=NOISE, wild=values)).startswith("Column wild holds infinity or numbers beyond")


def test_a_constant_column_is_a_warning() -> None:
    assert only_warning(dataset(noise=NOISE, a=np.ones(N), b=np.zeros(N))).startswith("Columns a and b hold one value")


def test_repeated_rows_are_a_warning_from_one_in_a_hundred() -> None:
    repeated = np.where(np.arange(N) < 8, NOISE[8], NOISE)
    labels = np.where(np.arange(N) < 8, LABELS[8], LABELS)
    assert only_warning(dataset(labels, noise=repeated)).startswith("8 of 400 rows repeat another one")
    assert found(dataset(noise=np.where(np.arange(N) < 3, NOISE[8], NOISE))).warnings == ()
    # Zeros of both signs are equal, and so are missing values.
    signs = np.array([0.0, -0.0, np.nan, np.nan] * 100)
    assert any("repeat another" in text for text in found(dataset(np.arange(N) // 200, a=signs, b=signs)).warnings)


def test_a_number_that_names_the_row_is_a_warning() -> None:
    numbers = CHANCE.permutation(N) + 1000
    warning = only_warning(dataset(noise=NOISE, customer=numbers, whole=("customer",)))
    assert warning.startswith("Column customer has another whole number in each row") and "--ignore customer" in warning
    assert found(dataset(noise=NOISE, age=CHANCE.integers(18, 90, N), whole=("age",))).warnings == ()


def test_whole_numbers_that_a_model_rounds_are_a_warning() -> None:
    values = CHANCE.integers(2**24, 2**25, N // 4).repeat(4)
    warning = only_warning(dataset(noise=NOISE, big=values, whole=("big",)))
    assert warning.startswith("Column big holds whole numbers beyond 16,777,216")


def test_a_large_table_has_no_folds_unless_they_are_chosen() -> None:
    assert [folds_for(Configuration(), rows) for rows in (100, 100_000, 100_001)] == [5, 5, 0]
    assert folds_for(Configuration(folds=3), 1_000_000) == 3
    assert folds_for(Configuration(folds=0), 100) == 0


def test_many_columns_are_not_all_listed() -> None:
    gaps = {f"c{index}": with_gaps(CHANCE.normal(size=N), 4) for index in range(50)}
    assert "and 42 more have missing values" in only_warning(dataset(**gaps, noise=NOISE))
