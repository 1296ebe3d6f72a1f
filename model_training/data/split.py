"""Which rows are held out: told by what a row holds, so that it stays on its side while its table grows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from model_training.data.datasets import DataError, Dataset

Rows = NDArray[np.intp]


def split(dataset: Dataset, test_size: float, seed: int) -> tuple[Rows, Rows]:
    """Indices of the training rows and of those held out, with the classes in equal shares.

    Rows that hold the same values are on the same side, but for those at the edge, and so are, with the same seed and
    share, nearly all rows of a table to which others were added, or that is in another order: else the model that was
    trained before would know most of the rows by which it is compared with its successor.

    Raises:
        DataError: a class has too few rows to be on both sides.
    """
    counts = np.bincount(dataset.y, minlength=len(dataset.classes))
    held_out = _held_out_counts(counts, test_size)
    if not ((held_out > 0) & (held_out < counts)).all():
        raise DataError(f"Each class needs rows on both sides of a split that holds {test_size:.0%} out; add rows.")
    numbers = row_numbers(dataset.X, seed)
    order = np.lexsort((numbers, dataset.y))
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    is_held_out = place < np.repeat(held_out, counts)
    # By their numbers, so that the classes are mixed, and the order of the table does not matter.
    train, test = (rows[np.argsort(numbers[rows], kind="stable")] for rows in (order[~is_held_out], order[is_held_out]))
    return train, test


def row_numbers(X: NDArray[np.float64], seed: int = 0) -> NDArray[np.uint64]:
    """A number of 64 bits for each row of X, shape (n, columns): the same for the same values, and far from others'."""
    numbers = _mix(np.full(len(X), seed, dtype=np.uint64))
    # Column by column: a second copy of a large table would not fit.
    for index in range(X.shape[1]):
        # So that 0.0 and -0.0, and all kinds of NaN, are the same value.
        values = X[:, index] + 0.0
        values[np.isnan(values)] = np.nan
        numbers = _mix(numbers ^ values.view(np.uint64))
    return numbers


def _held_out_counts(counts: NDArray[np.intp], test_size: float) -> NDArray[np.intp]:
    """Of each class its share, rounded so that all together are the share of all rows, rounded up."""
    exact = counts * test_size + 1e-9
    held_out: NDArray[np.intp] = np.floor(exact).astype(np.intp)
    missing = math.ceil(counts.sum() * test_size - 1e-9) - int(held_out.sum())
    held_out[np.argsort(held_out - exact, kind="stable")[:missing]] += 1
    return held_out


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A different number for each number, far from it (the finaliser of SplitMix64)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
