"""A booster's answers, looked up.

Trees split at thresholds, so between two neighbouring thresholds of a feature every value gets the same answer. Where
a model has few features, all combinations of such intervals, and of a missing value, are few enough to ask XGBoost for
each beforehand: a cell of the table holds what XGBoost itself gave for one row of that cell.
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

from model_artifact.predictors.native_booster import BoosterError, NativeBooster

# Twice as many cells are 2 MB with two classes: beyond that a look-up waits for memory, and each worker has its own.
MAX_CELLS = 2**18
MAX_TABLE_BYTES = 8 * 1024**2
# A tree takes some 4 ns a cell: with more of them it would be long until a model that is loaded serves.
MAX_FILL_STEPS = 2**30

# Rows in the proof at least; some 25 ms of XGBoost with 300 trees.
PROOF_ROWS = 20_000
_PROOF_ROWS_ONE_BY_ONE = 1_000
PROOF_TOLERANCE = 1e-6

# Rows at a time: what is computed for them stays in the processor's cache.
_CHUNK_ROWS = 8_192
_FILL_VALUES = 2**20
# Up to here it is faster to compare with each threshold, many rows at once, than to search for each row.
_COMPARED_THRESHOLDS = 64

_LARGEST = np.finfo(np.float32).max


class TableError(Exception):
    """A booster has no table, or not one that equals it; the message is a clause that says why."""


class DecisionTable:
    """Probabilities by cell; immutable, so any number of threads may ask at once."""

    def __init__(self, thresholds: Sequence[NDArray[np.float32]], probabilities: NDArray[np.float32]) -> None:
        """thresholds: of each feature, rising; probabilities: shape (cells, classes), the last feature's cell fastest.

        A feature with k thresholds has k + 1 intervals and, at the end, a cell for missing values; one without any
        has no part in the cell.
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
        """Probabilities, shape (n, classes), of rows of shape (n, features); NaN stands for a missing value."""
        answer = np.empty((len(rows), self._width), dtype=np.float32)
        for start in range(0, len(rows), _CHUNK_ROWS):
            stop = start + _CHUNK_ROWS
            # Every index is below the number of cells; told so, NumPy does not look.
            np.take(self._probabilities, self.cells(rows[start:stop]), axis=0, out=answer[start:stop], mode="clip")
        return answer

    def predict_one(self, values: Sequence[float]) -> list[float]:
        """As `predict`, for one row, which is rounded to float32.

        Raises:
            OverflowError: a value is beyond float32.
            struct.error: there are not as many numbers as features, or one is an integer beyond a double.
        """
        row = self._row.unpack(self._row.pack(*values))
        cell = 0
        for index, thresholds, stride in self._searches:
            cell += bisect_right(thresholds, row[index]) * stride
        total = sum(row)
        # Only NaN is not equal to itself, and a search cannot place it.
        if total != total:
            cell = int(self.cells(np.array([row], dtype=np.float32))[0])
        start = cell * self._width
        answer: list[float] = self._flat[start : start + self._width].tolist()
        return answer

    def cells(self, rows: NDArray[np.float32]) -> NDArray[np.intp]:
        """The cell of each row, shape (n,), of rows of shape (n, features)."""
        # By columns: each is then read in one run.
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
    """The booster as a table that was proved to equal it.

    Raises:
        TableError: it is none of trees with numeric splits, has too many cells, or the table failed its proof.
    """
    thresholds, n_trees = read_thresholds(booster)
    table = build_table(booster, thresholds, n_trees)
    prove_table(table, booster, thresholds)
    return table


def build_table(booster: NativeBooster, thresholds: Sequence[NDArray[np.float32]], n_trees: int) -> DecisionTable:
    """Ask the booster, which has n_trees trees that split at the thresholds, for every cell.

    Raises:
        TableError: there are too many.
    """
    sizes = _sizes(thresholds)
    cells = prod(sizes)
    if cells > MAX_CELLS:
        raise TableError(f"its thresholds make {_about(cells)} cells, more than {MAX_CELLS}")
    if cells * n_trees > MAX_FILL_STEPS:
        raise TableError(f"{n_trees} trees take too long for {cells} cells")
    # Below the first threshold, at each, and missing: where a feature has no threshold, any value does.
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
        answers.append(_ask(booster, rows))
        if answers[0].shape[1] * cells * 4 > MAX_TABLE_BYTES:
            raise TableError(f"{cells} cells with {answers[0].shape[1]} classes are more than {MAX_TABLE_BYTES} bytes")
    return DecisionTable(thresholds, np.concatenate(answers))


def read_thresholds(booster: NativeBooster) -> tuple[list[NDArray[np.float32]], int]:
    """Where the trees split each feature, rising, and how many trees there are.

    Raises:
        TableError: it is none of trees with numeric splits.
    """
    try:
        model = msgspec.json.decode(booster.save("json"), type=_Model).learner.gradient_booster
    except (msgspec.MsgspecError, BoosterError) as error:
        raise TableError("it is not made of trees in the form that this program knows") from error
    if model.name != "gbtree" or model.model is None:
        raise TableError(f"it is a {model.name[:40]}, not gbtree")
    found: list[set[float]] = [set() for _ in range(booster.n_features)]
    for tree in model.model.trees:
        if any(tree.split_type):
            raise TableError("it splits by categories")
        try:
            for feature, threshold, left in zip(
                tree.split_indices, tree.split_conditions, tree.left_children, strict=True
            ):
                if left != _LEAF:
                    found[feature].add(threshold)
        except (ValueError, IndexError) as error:
            raise TableError("it is not made of trees in the form that this program knows") from error
    # In float32, as XGBoost compares.
    return [np.unique(np.array(sorted(values), dtype=np.float32)) for values in found], len(model.model.trees)


def prove_table(table: DecisionTable, booster: NativeBooster, thresholds: Sequence[NDArray[np.float32]]) -> None:
    """Hold the table against the booster on rows at, just below and just above every threshold, and between them.

    Raises:
        TableError: a row gets another class, or a probability that is off by more than PROOF_TOLERANCE.
    """
    rows = proof_rows(thresholds)
    expected = _ask(booster, rows)
    given = table.predict(rows)
    one_by_one = np.array([table.predict_one(row) for row in rows[:_PROOF_ROWS_ONE_BY_ONE].tolist()])
    for answers in (given, one_by_one):
        wanted = expected[: len(answers)]
        if answers.shape != wanted.shape or (answers.argmax(axis=1) != wanted.argmax(axis=1)).any():
            raise TableError("a row of its proof gets another class than XGBoost gives")
        off = float(np.abs(answers - wanted).max())
        # Written so that NaN fails as well.
        if not off <= PROOF_TOLERANCE:
            raise TableError(f"a row of its proof gets a probability that is {off:.3g} off XGBoost's")


def proof_rows(thresholds: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The same rows every time: each of a feature's telling values at least once, in chance company."""
    chance = np.random.default_rng(0)
    columns = []
    for values in thresholds:
        low, high = (values[0], values[-1]) if len(values) else (np.float32(-1), np.float32(1))
        margin = max(float(high) - float(low), 1.0)
        between = chance.uniform(float(low) - margin, float(high) + margin, size=max(64, len(values)))
        telling = [
            values,
            np.nextafter(values, np.float32(-np.inf)),
            np.nextafter(values, np.float32(np.inf)),
            np.clip(between, -_LARGEST, _LARGEST),
            [np.nan, 0.0, -0.0, _LARGEST, -_LARGEST],
        ]
        columns.append(np.concatenate([np.asarray(part, dtype=np.float32) for part in telling]))
    count = max([PROOF_ROWS, *map(len, columns)])
    rows = np.empty((count, len(columns)), dtype=np.float32)
    for index, column in enumerate(columns):
        rows[:, index] = chance.permutation(np.resize(column, count))
    return rows


def _intervals(thresholds: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[Any]:
    """How many thresholds are not above each value."""
    if len(thresholds) > _COMPARED_THRESHOLDS:
        return np.searchsorted(thresholds, values, side="right")
    reached = np.less_equal(thresholds[:, None], values)
    counts: NDArray[Any] = np.add.reduce(reached.view(np.uint8), axis=0, dtype=np.uint8)
    return counts


def _sizes(thresholds: Sequence[NDArray[np.float32]]) -> list[int]:
    return [len(values) + 2 if len(values) else 1 for values in thresholds]


def _strides(sizes: list[int]) -> list[int]:
    return list(accumulate(reversed(sizes[1:]), mul, initial=1))[::-1]


def _ask(booster: NativeBooster, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    try:
        answer = booster.predict(np.ascontiguousarray(rows, dtype=np.float32))
    except BoosterError as error:
        raise TableError(f"XGBoost does not answer: {str(error)[:200]}") from error
    if answer.ndim != 2:
        raise TableError("it gives no probability a class")
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
    """The part of XGBoost's JSON form of a model that is read here."""

    learner: _Learner
