"""Find the errors of a table and warnings about it before a training: sentences that name a remedy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_training.configuration import Configuration
from model_training.data.datasets import Dataset
from model_training.data.split import row_numbers
from model_training.data.table_file import columns_named, listed

DEFAULT_FOLDS = 5
# With more rows the held-out part is as precise as folds are, and each fold costs a training.
MAX_ROWS_FOR_FOLDS = 100_000

_SAMPLE_ROWS = 100_000
_LEAK_ACCURACY = 0.99
_MIN_BIN_ROWS = 20
_MAX_BINS = 256
_MIN_ROWS_FOR_IDS = 50
_IMBALANCE = 10
_DUPLICATE_SHARE = 0.01
_MAX_FLOAT32 = float(np.finfo(np.float32).max)
# Models compute in float32, which has no larger odd number.
_MAX_EXACT = 2**24


@dataclass(frozen=True)
class Findings:
    """Sentences: an error prevents the training, a warning does not."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def folds_for(configuration: Configuration, rows: int) -> int:
    """Return the number of folds of the cross-validation, configured or by the number of rows; 0 for none."""
    if configuration.folds is not None:
        return configuration.folds
    return DEFAULT_FOLDS if rows <= MAX_ROWS_FOR_FOLDS else 0


def search_folds(configuration: Configuration) -> int:
    """Return the number of folds of a hyperparameter search, which is never 0."""
    return configuration.folds or DEFAULT_FOLDS


def check(dataset: Dataset, configuration: Configuration) -> Findings:
    """Check a table for the training that the configuration describes."""
    if not dataset.columns:
        return Findings(
            ("There is no column to learn from besides the classes; ignore fewer columns.",), dataset.warnings
        )
    if len(dataset.y) == 0:
        return Findings(("The table has no row with a class; there is nothing to learn from.",), dataset.warnings)
    columns = _Columns(dataset)
    return Findings(
        errors=(*_class_errors(dataset, configuration), *columns.errors(configuration)),
        warnings=(*dataset.warnings, *columns.warnings(), *_class_warnings(dataset), *_duplicate_rows(dataset)),
    )


def rows_needed(configuration: Configuration, rows: int) -> int:
    """Return how many rows each class needs, so that the held-out part and every fold get one."""
    held_out = configuration.test_size
    needed = max(math.ceil(1 / held_out - 1e-9), math.ceil(1 / (1 - held_out) - 1e-9), folds_for(configuration, rows))
    if configuration.search:
        needed = max(needed, math.ceil(search_folds(configuration) / (1 - held_out) - 1e-9))
    return max(needed, 2)


def _class_errors(dataset: Dataset, configuration: Configuration) -> list[str]:
    counts = np.bincount(dataset.y, minlength=len(dataset.classes))
    if len(counts) < 2:
        return [
            f"Every row has the same {dataset.target}, {dataset.classes[0]}; a model needs two classes, so add"
            " rows of another or choose another column."
        ]
    needed = rows_needed(configuration, len(dataset.y))
    rare = [f"{dataset.classes[index]} ({counts[index]})" for index in np.flatnonzero(counts < needed)]
    if not rare:
        return []
    folds = folds_for(configuration, len(dataset.y))
    purpose = f"{configuration.test_size:.0%} held out" + (f" and {folds} folds" if folds else "")
    return [
        f"Each class needs at least {needed:,} rows for {purpose}, and there are fewer of {listed(rare)}; add rows,"
        " leave these classes out, or choose another share or fewer folds."
    ]


def _class_warnings(dataset: Dataset) -> list[str]:
    counts = np.bincount(dataset.y, minlength=len(dataset.classes))
    rarest, commonest = int(counts.argmin()), int(counts.argmax())
    if counts[commonest] < _IMBALANCE * counts[rarest]:
        return []
    return [
        f"The classes are unbalanced: {counts[commonest]:,} rows are {dataset.classes[commonest]},"
        f" {counts[rarest]:,} are {dataset.classes[rarest]}; look at each class in the"
        " confusion matrix, not at the accuracy alone."
    ]


def _duplicate_rows(dataset: Dataset) -> list[str]:
    # 64 bits a row: sorting whole rows would take a second copy of the table. A rare collision does not matter.
    mixed = row_numbers(dataset.X) ^ (dataset.y.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    repeated = len(mixed) - len(np.unique(mixed))
    if repeated < _DUPLICATE_SHARE * len(mixed):
        return []
    return [
        f"{repeated:,} of {len(mixed):,} rows repeat another one: a repeated row can be in the training and in the"
        " held-out part at once, which makes the metrics too good; remove them unless they are separate measurements."
    ]


class _Columns:
    """What the values of each feature show, collected in one pass, a column at a time."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._missing: dict[str, float] = {}
        self._empty: list[str] = []
        self._beyond: list[str] = []
        self._constant: list[str] = []
        self._copies: list[str] = []
        self._leaks: list[str] = []
        self._ids: list[str] = []
        self._rounded: list[str] = []
        step = math.ceil(len(dataset.y) / _SAMPLE_ROWS)
        for index, column in enumerate(dataset.columns):
            self._check_column(column.name, column.dtype == "integer", np.ascontiguousarray(dataset.X[:, index]), step)

    def _check_column(self, name: str, whole: bool, values: NDArray[np.float64], step: int) -> None:
        labels, n_classes = self._dataset.y, len(self._dataset.classes)
        missing = np.isnan(values)
        if missing.all():
            self._empty.append(name)
            return
        if missing.any():
            self._missing[name] = float(missing.mean())
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if max(abs(low), abs(high)) > _MAX_FLOAT32:
            self._beyond.append(name)
        elif low == high:
            self._constant.append(name)
        elif n_classes > 1 and _is_copy(values, labels, n_classes):
            self._copies.append(name)
        elif whole and _all_different(values):
            self._ids.append(name)
        elif n_classes > 1 and _predicts_alone(values[::step], labels[::step], n_classes):
            self._leaks.append(name)
        if whole and max(abs(low), abs(high)) > _MAX_EXACT:
            self._rounded.append(name)

    def errors(self, configuration: Configuration) -> list[str]:
        errors = []
        target = self._dataset.target
        if self._empty:
            errors.append(f"{columns_named(self._empty, 'has', 'have')} no value at all; ignore such columns.")
        if self._beyond:
            errors.append(
                f"{columns_named(self._beyond, 'holds', 'hold')} infinity or numbers beyond {_MAX_FLOAT32:.2g},"
                " which no model can compute with; correct them, or make the cells empty."
            )
        if self._copies:
            errors.append(
                f"{columns_named(self._copies, 'is', 'are')} a copy of {target}: each class has one value of its own,"
                " and the model would learn nothing else; ignore such columns"
                f" (--ignore {self._copies[0]})."
            )
        if self._missing and configuration.estimator == "logistic-regression":
            errors.append(
                f"{columns_named(list(self._missing), 'has', 'have')} missing values, which logistic-regression cannot"
                " learn from; fill them in, ignore such columns, or choose xgboost or random-forest."
            )
        if len(self._constant) == len(self._dataset.columns):
            errors.append("Every column holds one value only; there is nothing to learn from.")
        return errors

    def warnings(self) -> list[str]:
        warnings = []
        target = self._dataset.target
        if self._missing:
            shares = [f"{name} ({share:.1%})" for name, share in self._missing.items()]
            warnings.append(
                f"{columns_named(shares, 'has', 'have')} missing values: the model learns from such rows, but a"
                " prediction needs every value."
            )
        # The pixels at the border are always empty, and none can be ignored.
        if self._constant and self._dataset.picture is None:
            warnings.append(
                f"{columns_named(self._constant, 'holds', 'hold')} one value only and cannot help; ignore such"
                f" columns (--ignore {self._constant[0]})."
            )
        if self._leaks:
            warnings.append(
                f"{columns_named(self._leaks, 'predicts', 'predict')} {target} alone in at least"
                f" {_LEAK_ACCURACY:.0%} of the rows: if it is only known after {target} is, ignore it"
                f" (--ignore {self._leaks[0]})."
            )
        if self._ids:
            warnings.append(
                f"{columns_named(self._ids, 'has', 'have')} another whole number in each row: if it identifies"
                f" the rows, ignore it (--ignore {self._ids[0]})."
            )
        if self._rounded:
            warnings.append(
                f"{columns_named(self._rounded, 'holds', 'hold')} whole numbers beyond {_MAX_EXACT:,}, which the"
                " model rounds to 24 bits."
            )
        return warnings


def _is_copy(values: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int) -> bool:
    """Return whether each class has one value, which no other class has."""
    _, first = np.unique(labels, return_index=True)
    of_class = values[first]
    return len(first) == n_classes == len(np.unique(of_class)) and bool((of_class[labels] == values).all())


def _all_different(values: NDArray[np.float64]) -> bool:
    present = values[~np.isnan(values)]
    return (
        len(present) >= _MIN_ROWS_FOR_IDS
        # A thousand values nearly always suffice, and sorting all of them takes a while.
        and len(np.unique(present[:1000])) == len(present[:1000])
        and len(np.unique(present)) == len(present)
    )


def _predicts_alone(values: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int) -> bool:
    """Return whether the majority class of each bin of a feature, or of its missing values, is nearly always right.

    Bins have at least 20 rows on average, so that few rows cannot fit by chance; and the error must be far below that
    of the majority-class baseline.
    """
    bins = min(_MAX_BINS, len(values) // _MIN_BIN_ROWS)
    present = values[~np.isnan(values)]
    if bins < 2 or not len(present):
        return False
    edges = np.unique(np.quantile(present, np.linspace(0, 1, bins + 1)[1:-1]))
    # Missing values are a bin of their own.
    bin_of = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    counts = np.bincount(bin_of * n_classes + labels, minlength=(len(edges) + 2) * n_classes)
    wrong = 1 - counts.reshape(-1, n_classes).max(axis=1).sum() / len(values)
    baseline = 1 - np.bincount(labels).max() / len(values)
    return bool(wrong <= min(1 - _LEAK_ACCURACY + 1e-9, baseline / 10))
