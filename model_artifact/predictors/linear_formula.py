"""A linear model's weights: margins of a row, and probabilities of margins."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

# Rows at a time: what is computed for them stays in the processor's cache.
_CHUNK_ROWS = 4_096
_LARGEST = float(np.finfo(np.float32).max)
_FIELDS = ("weights", "base_values", "means", "scales")


class LinearFormula:
    """A class's margin is its base value and, for each feature, a weight times the distance from the feature's mean.

    Softmax over the margins, in double precision, gives the probabilities. One row gets the bits that it gets among
    many: both ways add up in the same order, which a product of matrices leaves open. Immutable, so any number of
    threads may ask at once.
    """

    def __init__(
        self, weights: list[list[float]], base_values: list[float], means: list[float], scales: list[float]
    ) -> None:
        """weights: shape (classes, features), of the values unscaled; means and scales: of the training rows' features.

        Raises:
            ValueError: a number is not finite, or they are so large that a margin may not be.
        """
        self._lists = dict(zip(_FIELDS, (weights, base_values, means, scales), strict=True))
        self.base_values = np.array(base_values, dtype=np.float64)
        self.n_features = len(means)
        # By features, the order of adding up.
        self._weights = np.ascontiguousarray(np.array(weights, dtype=np.float64).T)
        self._means = np.array(means, dtype=np.float64)
        self._scales = np.array(scales, dtype=np.float64)
        self._row = struct.Struct(f"={self.n_features}f")
        with np.errstate(over="ignore", invalid="ignore"):
            farthest = (_LARGEST + np.abs(self._means))[:, None]
            margins = (np.abs(self._weights) * farthest).sum(axis=0) + np.abs(self.base_values)
            # Twice: margins are taken from each other.
            if not (np.isfinite(2 * margins).all() and np.isfinite(self.spread().sum())):
                raise ValueError("the weights of a linear model are not finite, or so large that its margins are not")

    @classmethod
    def from_lists(cls, lists: Any) -> Self:
        """Of what `as_lists` gave, or something that only claims to be it.

        Raises:
            ValueError: it is anything else.
        """
        if not isinstance(lists, dict) or lists.keys() != set(_FIELDS):
            raise ValueError("a linear model does not hold the fields that this program knows")
        weights = lists["weights"]
        if not isinstance(weights, list) or len(weights) < 2:
            raise ValueError("a linear model does not hold weights of two classes or more")
        width = len(weights[0]) if isinstance(weights[0], list) else 0
        wanted = [*((row, width) for row in weights), (lists["base_values"], len(weights))]
        wanted += [(lists["means"], width), (lists["scales"], width)]
        if not width or not all(_are_floats(values, length) for values, length in wanted):
            raise ValueError("a linear model does not hold as many numbers as it has classes and features")
        return cls(**lists)

    def as_lists(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return self._lists

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, shape (n, classes), of rows of shape (n, features)."""
        answer = np.empty((len(rows), len(self.base_values)), dtype=np.float32)
        for start in range(0, len(rows), _CHUNK_ROWS):
            columns = np.subtract(rows[start : start + _CHUNK_ROWS].T, self._means[:, None], order="C")
            margins = np.zeros((answer.shape[1], columns.shape[1]))
            product = np.empty_like(margins)
            for weights, column in zip(self._weights, columns, strict=True):
                margins += np.multiply(weights[:, None], column, out=product)
            margins += self.base_values[:, None]
            margins -= margins.max(axis=0)
            powers = np.exp(margins, out=margins)
            total = np.zeros(powers.shape[1])
            for power in powers:
                total += power
            powers /= total
            answer[start : start + _CHUNK_ROWS] = powers.T
        return answer

    def predict_one(self, values: Sequence[float]) -> list[float]:
        """As `predict`, for one row, which is rounded to float32.

        Raises:
            OverflowError: a value is beyond float32.
            struct.error: there are not as many numbers as features, or one is an integer beyond a double.
        """
        row = np.array(self._row.unpack(self._row.pack(*values)))
        row -= self._means
        # Not a sum, which NumPy may take in any order.
        margins = np.add.accumulate(self._weights * row[:, None])[-1]
        margins += self.base_values
        margins -= margins.max()
        powers = np.exp(margins)
        powers /= np.add.accumulate(powers)[-1]
        answer: list[float] = powers.astype(np.float32).tolist()
        return answer

    def contributions(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """What each feature adds to each margin, shape (n, classes, features), for rows of shape (n, features)."""
        parts: NDArray[np.float64] = (rows - self._means)[:, None, :] * self._weights.T
        return parts

    def spread(self) -> NDArray[np.float64]:
        """How far each feature moves the margins over its spread in training, summed over the classes."""
        moved: NDArray[np.float64] = np.abs(self._weights).sum(axis=1) * np.abs(self._scales)
        return moved


def _are_floats(values: object, length: int) -> bool:
    return isinstance(values, list) and len(values) == length and all(type(value) is float for value in values)
