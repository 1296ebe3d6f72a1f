"""A lookup table of a booster's answers.

Trees split at thresholds, so every value between two neighbouring thresholds of a feature gets the same answer. For a
model with few features there are few combinations of such intervals and missing values. Each is a cell of the table,
and holds the answer of XGBoost for one row of that cell.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from model_artifact.errors import BoosterError, DecisionTableError
from model_artifact.predictors.native_booster import NativeBooster

# 2 MB with two classes. A lookup in a larger table waits for memory, and each worker has its own table.
MAX_CELLS = 2**18
MAX_TABLE_BYTES = 8 * 1024**2
# Trees times cells. A tree takes some 4 ns per cell, and a model serves only after its table is filled.
MAX_FILL_STEPS = 2**30

# XGBoost with 300 trees takes some 25 ms for them.
MIN_VERIFIED_ROWS = 20_000
_MAX_SINGLE_ROWS = 1_000
TOLERANCE = 1e-6

# So many rows fit in the processor's cache.
_CHUNK_ROWS = 8_192
_FILL_VALUES = 2**20
# Up to here, comparing many rows with each threshold is faster than a search for each row.
_MAX_COMPARED_THRESHOLDS = 64

_MAX_FLOAT32 = np.finfo(np.float32).max


class DecisionTable:
    """Probabilities by cell; immutable, so thread-safe."""

    def __init__(self, thresholds: Sequence[NDArray[np.float32]], probabilities: NDArray[np.float32]) -> None:
        """Take each feature's thresholds in rising order, and probabilities of shape (cells, classes).

        A feature with k thresholds has k + 1 intervals and, after them, a place for missing values; a feature without
        thresholds has one. The last feature's place varies fastest.
        """
        sizes = _sizes(thresholds)
        strides = _strides(sizes)
        self.n_features = len(thresholds)
        self.n_cells = prod(sizes)
        self._probabilities = np.ascontiguousarray(probabilities, dtype=np.float32)
        used = [index for index, size in enumerate(sizes) if size > 1]
        self._columns = used
        self._steps = [(np.ascontiguousarray(thresholds[index], dtype=np.float32), strides[index]) for index in used]
        self._row = struct.Struct(f"={self.n_features}f")
        self._searches = tuple((index, thresholds[index].tolist(), strides[index]) for index in used)
        self._width = self._probabilities.shape[1]
        self._flat: Any = self._probabilities.ravel().data

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities of shape (n, classes) for rows of shape (n, features); NaN is a missing value."""
        answer = np.empty((len(rows), self._width), dtype=np.float32)
        for start in range(0, len(rows), _CHUNK_ROWS):
            stop = start + _CHUNK_ROWS
            # Every index is valid, and with `clip` NumPy skips the check.
            np.take(self._probabilities, self.cells(rows[start:stop]), axis=0, out=answer[start:stop], mode="clip")
        return answer

    def predict_one(self, values: Sequence[float]) -> list[float]:
        """Return the probabilities of one row; see `Classifier.predict_one`."""
        row = self._row.unpack(self._row.pack(*values))
        cell = 0
        for index, thresholds, stride in self._searches:
            cell += bisect_right(thresholds, row[index]) * stride
        total = sum(row)
        # Only NaN differs from itself, and a search cannot place it.
        if total != total:
            cell = int(self.cells(np.array([row], dtype=np.float32))[0])
        start = cell * self._width
        answer: list[float] = self._flat[start : start + self._width].tolist()
        return answer

    def cells(self, rows: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the cell of each row, shape (n,), for rows of shape (n, features)."""
        # Column by column, so that memory is read in sequence.
        columns = np.ascontiguousarray(rows.T if len(self._columns) == rows.shape[1] else rows.T[self._columns])
        missing = np.isnan(columns)
        any_missing = bool(missing.any())
        cells = np.zeros(len(rows), dtype=np.intp)
        for number, (thresholds, stride) in enumerate(self._steps):
            intervals = _intervals(thresholds, columns[number])
            if any_missing:
                intervals[missing[number]] = len(thresholds) + 1
            cells += np.multiply(intervals, stride, dtype=np.intp)
        return cells


def tabulate(booster: NativeBooster) -> DecisionTable:
    """Return a table that was verified to equal the booster.

    Raises:
        DecisionTableError: the booster has other parts than trees with numeric splits, the table has too many cells, or
            it differs from the booster.
    """
    thresholds, n_trees = read_thresholds(booster)
    table = build_table(booster, thresholds, n_trees)
    verify_table(table, booster, thresholds)
    return table


def build_table(booster: NativeBooster, thresholds: Sequence[NDArray[np.float32]], n_trees: int) -> DecisionTable:
    """Fill a table with the answers of a booster that has n_trees trees with these thresholds.

    Raises:
        DecisionTableError: the table has too many cells.
    """
    sizes = _sizes(thresholds)
    cells = prod(sizes)
    if cells > MAX_CELLS:
        raise DecisionTableError(f"its thresholds make {_about(cells)} cells, more than {MAX_CELLS}")
    if cells * n_trees > MAX_FILL_STEPS:
        raise DecisionTableError(f"{n_trees} trees take too long for {cells} cells")
    # A value below the first threshold, each threshold, and a missing value; any value of a feature without thresholds.
    representatives = [
        np.concatenate([np.nextafter(values[:1], np.float32(-np.inf)), values, [np.float32(np.nan)]])
        if len(values)
        else np.zeros(1, dtype=np.float32)
        for values in thresholds
    ]
    answers: list[NDArray[np.float32]] = []
    step = max(1, _FILL_VALUES // len(thresholds))
    for start in range(0, cells, step):
        places = np.unravel_index(np.arange(start, min(start + step, cells)), sizes)
        rows = np.stack([values[place] for values, place in zip(representatives, places, strict=True)], axis=1)
        answers.append(_predict(booster, rows))
        if answers[0].shape[1] * cells * 4 > MAX_TABLE_BYTES:
            raise DecisionTableError(
                f"{cells} cells with {answers[0].shape[1]} classes are more than {MAX_TABLE_BYTES} bytes"
            )
    return DecisionTable(thresholds, np.concatenate(answers))


def read_thresholds(booster: NativeBooster) -> tuple[list[NDArray[np.float32]], int]:
    """Return the thresholds of each feature in rising order, and the number of trees.

    Raises:
        DecisionTableError: the booster has other parts than trees with numeric splits.
    """
    try:
        model = msgspec.json.decode(booster.save("json"), type=_Model).learner.gradient_booster
    except (msgspec.MsgspecError, BoosterError) as error:
        raise DecisionTableError("it has trees in an unknown form") from error
    if model.name != "gbtree" or model.model is None:
        raise DecisionTableError(f"it is a {model.name[:40]}, not gbtree")
    found: list[set[float]] = [set() for _ in range(booster.n_features)]
    for tree in model.model.trees:
        if any(tree.split_type):
            raise DecisionTableError("it splits by categories")
        try:
            for feature, threshold, left in zip(
                tree.split_indices, tree.split_conditions, tree.left_children, strict=True
            ):
                if left != _LEAF:
                    found[feature].add(threshold)
        except (ValueError, IndexError) as error:
            raise DecisionTableError("it has trees in an unknown form") from error
    # XGBoost compares in float32.
    return [np.unique(np.array(sorted(values), dtype=np.float32)) for values in found], len(model.model.trees)


def verify_table(table: DecisionTable, booster: NativeBooster, thresholds: Sequence[NDArray[np.float32]]) -> None:
    """Compare the table with the booster on rows at, just below and just above every threshold, and between them.

    Raises:
        DecisionTableError: a row gets another class, or a probability that differs by more than TOLERANCE.
    """
    rows = verification_rows(thresholds)
    expected = _predict(booster, rows)
    given = table.predict(rows)
    one_by_one = np.array([table.predict_one(row) for row in rows[:_MAX_SINGLE_ROWS].tolist()])
    for answers in (given, one_by_one):
        wanted = expected[: len(answers)]
        if answers.shape != wanted.shape or (answers.argmax(axis=1) != wanted.argmax(axis=1)).any():
            raise DecisionTableError("a row gets another class than from XGBoost")
        off = float(np.abs(answers - wanted).max())
        # `not <=` also rejects NaN.
        if not off <= TOLERANCE:
            raise DecisionTableError(f"the probability of a row differs by {off:.3g} from XGBoost's")


def verification_rows(thresholds: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return rows that contain every critical value of each feature, combined at random with a fixed seed."""
    chance = np.random.default_rng(0)
    columns = []
    for values in thresholds:
        low, high = (values[0], values[-1]) if len(values) else (np.float32(-1), np.float32(1))
        margin = max(float(high) - float(low), 1.0)
        between = chance.uniform(float(low) - margin, float(high) + margin, size=max(64, len(values)))
        critical = [
            values,
            np.nextafter(values, np.float32(-np.inf)),
            np.nextafter(values, np.float32(np.inf)),
            np.clip(between, -_MAX_FLOAT32, _MAX_FLOAT32),
            [np.nan, 0.0, -0.0, _MAX_FLOAT32, -_MAX_FLOAT32],
        ]
        columns.append(np.concatenate([np.asarray(part, dtype=np.float32) for part in critical]))
    count = max([MIN_VERIFIED_ROWS, *map(len, columns)])
    rows = np.empty((count, len(columns)), dtype=np.float32)
    for index, column in enumerate(columns):
        rows[:, index] = chance.permutation(np.resize(column, count))
    return rows


def _intervals(thresholds: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[Any]:
    """Return how many thresholds are at or below each value."""
    if len(thresholds) > _MAX_COMPARED_THRESHOLDS:
        return np.searchsorted(thresholds, values, side="right")
    reached = np.less_equal(thresholds[:, None], values)
    counts: NDArray[Any] = np.add.reduce(reached.view(np.uint8), axis=0, dtype=np.uint8)
    return counts


def _sizes(thresholds: Sequence[NDArray[np.float32]]) -> list[int]:
    return [len(values) + 2 if len(values) else 1 for values in thresholds]


def _strides(sizes: list[int]) -> list[int]:
    return list(accumulate(reversed(sizes[1:]), mul, initial=1))[::-1]


def _predict(booster: NativeBooster, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    try:
        answer = booster.predict(np.ascontiguousarray(rows, dtype=np.float32))
    except BoosterError as error:
        raise DecisionTableError(f"XGBoost fails: {str(error)[:200]}") from error
    if answer.ndim != 2:
        raise DecisionTableError("it gives no probability per class")
    return answer


def _about(number: int) -> str:
    return str(number) if number < 10**9 else f"{float(number):.0e}" if number < 10**300 else "countless"


_LEAF = -1


class _Tree(msgspec.Struct):
    split_indices: list[int]
    split_conditions: list[float]
    left_children: list[int]
    split_type: list[int] = []


class _Trees(msgspec.Struct):
    trees: list[_Tree]


class _GradientBooster(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    model: _Trees | None = None


class _Learner(msgspec.Struct):
    gradient_booster: _GradientBooster


class _Model(msgspec.Struct):
    """The part of a model in XGBoost's JSON that this module reads."""

    learner: _Learner
