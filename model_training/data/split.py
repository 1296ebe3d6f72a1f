"""Choose the held-out rows by their values, so that a row stays on its side of the split while its table grows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model_training.data.datasets import DataError, Dataset

Rows = NDArray[np.intp]


def split(dataset: Dataset, test_size: float, seed: int) -> tuple[Rows, Rows]:
    """Return the indices of the training rows and of the held-out rows, with equal shares of each class.

    Rows with the same values are on the same side, except at the edge. With the same seed and share, so are nearly all
    rows of a table that got more rows or another order: otherwise a previous model would have been trained on most of
    the rows that compare it with its successor.

    Raises:
        DataError: a class has too few rows for both sides.
    """
    counts = np.bincount(dataset.y, minlength=len(dataset.classes))
    held_out = _held_out_counts(counts, test_size)
    if not ((held_out > 0) & (held_out < counts)).all():
        raise DataError(f"Each class needs rows on both sides of a split that holds {test_size:.0%} out; add rows.")
    numbers = row_numbers(dataset.X, seed)
    order = np.lexsort((numbers, dataset.y))
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_held_out = place < np.repeat(held_out, counts)
    # Sorted by their numbers: the classes are mixed, and the order of the table does not matter.
    train, test = (rows[np.argsort(numbers[rows], kind="stable")] for rows in (order[~is_held_out], order[is_held_out]))
    return train, test


def row_numbers(X: NDArray[np.float64], seed: int = 0) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each row of X, shape (n, columns): equal for equal values."""
    numbers = _mix(np.full(len(X), seed, dtype=np.uint64))
    # Column by column: a second copy of a large table might not fit into memory.
    for index in range(X.shape[1]):
        # 0.0 and -0.0 become the same value, and so do all kinds of NaN.
        values = X[:, index] + 0.0
        values[np.isnan(values)] = np.nan
        numbers = _mix(numbers ^ values.view(np.uint64))
    return numbers


def _held_out_counts(counts: NDArray[np.intp], test_size: float) -> NDArray[np.intp]:
    """Return the number of held-out rows of each class; their sum is the share of all rows, rounded up."""
    exact = counts * test_size + 1e-9
    held_out: NDArray[np.intp] = np.floor(exact).astype(np.intp)
    missing = math.ceil(counts.sum() * test_size - 1e-9) - int(held_out.sum())
    held_out[np.argsort(held_out - exact, kind="stable")[:missing]] += 1
    return held_out


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a different, distant number for each number (the finaliser of SplitMix64)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
