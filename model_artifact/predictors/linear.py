"""A linear model: NumPy alone computes its answers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_artifact.card import Estimator, Predictor
from model_artifact.errors import NotTrainedError
from model_artifact.predictors.classifier import Classifier

# So many rows fit in the processor's cache.
_CHUNK_ROWS = 4_096
_MAX_FLOAT32 = float(np.finfo(np.float32).max)
_FIELDS = ("weights", "base_values", "means", "scales")


class LinearPredictor(Classifier):
    """A classifier whose log-odds are weighted sums of the features.

    It needs every value: NaN in a row makes NaN of its probabilities.
    """

    estimator: ClassVar[Estimator] = "logistic-regression"
    parameter_names: ClassVar[tuple[str, ...]] = ("C", "max_iter")

    def __init__(self) -> None:
        self.n_classes = 0
        self._formula: LinearFormula | None = None

    @property
    def n_features(self) -> int:
        return self._trained.n_features

    @property
    def predictor(self) -> Predictor:
        return "linear"

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        return self._trained.predict(self._checked(X))

    def predict_one(self, values: Sequence[float]) -> list[float]:
        return self._trained.predict_one(values)

    def explain(self, X: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return exact SHAP values: a weight times the distance from the feature's mean; see `Classifier.explain`."""
        rows = self._checked(X)
        return self._trained.contributions(rows), np.tile(self._trained.base_values, (len(rows), 1))

    @property
    def _trained(self) -> LinearFormula:
        if self._formula is None:
            raise NotTrainedError(f"this {type(self).__name__} is not trained yet: call train(X, y) first")
        return self._formula

    def __getstate__(self) -> dict[str, Any]:
        # Lists of floats: a pickle of arrays opens only where functions of NumPy are admitted.
        return {**self.hyperparameters, "formula": self._trained.as_lists()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._restore_parameters(state, "formula")
        self._formula = LinearFormula.from_lists(state["formula"])
        self.n_classes = len(self._formula.base_values)


class LinearFormula:
    """The log-odds of a class: its base value, plus a weight times the distance from the mean for each feature.

    Softmax over the log-odds, in double precision, gives the probabilities. A row gets the same bits alone and in a
    batch: both add up in the same order, which a matrix product does not guarantee. Immutable, so thread-safe.
    """

    def __init__(
        self, weights: list[list[float]], base_values: list[float], means: list[float], scales: list[float]
    ) -> None:
        """Take weights of shape (classes, features) for unscaled values, and means and scales of the training rows.

        Raises:
            ValueError: a number is not finite, or so large that the log-odds may overflow.
        """
        self._lists = dict(zip(_FIELDS, (weights, base_values, means, scales), strict=True))
        self.base_values = np.array(base_values, dtype=np.float64)
        self.n_features = len(means)
        # By feature, the order of the sum.
        self._weights = np.ascontiguousarray(np.array(weights, dtype=np.float64).T)
        self._means = np.array(means, dtype=np.float64)
        self._scales = np.array(scales, dtype=np.float64)
        self._row = struct.Struct(f"={self.n_features}f")
        with np.errstate(over="ignore", invalid="ignore"):
            farthest = (_MAX_FLOAT32 + np.abs(self._means))[:, None]
            log_odds = (np.abs(self._weights) * farthest).sum(axis=0) + np.abs(self.base_values)
            # Softmax subtracts log-odds from each other, so they may grow to twice as much.
            if not (np.isfinite(2 * log_odds).all() and np.isfinite(self.spread().sum())):
                raise ValueError("the weights of a linear model are not finite, or so large that its log-odds are not")

    @classmethod
    def from_lists(cls, lists: Any) -> Self:
        """Read what `as_lists` returned, without trusting it.

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
        """Return the constructor's arguments."""
        return self._lists

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities of shape (n, classes) for rows of shape (n, features)."""
        answer = np.empty((len(rows), len(self.base_values)), dtype=np.float32)
        for start in range(0, len(rows), _CHUNK_ROWS):
            columns = np.subtract(rows[start : start + _CHUNK_ROWS].T, self._means[:, None], order="C")
            log_odds = np.zeros((answer.shape[1], columns.shape[1]))
            product = np.empty_like(log_odds)
            for weights, column in zip(self._weights, columns, strict=True):
                log_odds += np.multiply(weights[:, None], column, out=product)
            log_odds += self.base_values[:, None]
            log_odds -= log_odds.max(axis=0)
            powers = np.exp(log_odds, out=log_odds)
            total = np.zeros(powers.shape[1])
            for power in powers:
                total += power
            powers /= total
            answer[start : start + _CHUNK_ROWS] = powers.T
        return answer

    def predict_one(self, values: Sequence[float]) -> list[float]:
        """Return the probabilities of one row; see `Classifier.predict_one`."""
        row = np.array(self._row.unpack(self._row.pack(*values)))
        row -= self._means
        # `sum` would add in an order of NumPy's choice.
        log_odds = np.add.accumulate(self._weights * row[:, None])[-1]
        log_odds += self.base_values
        log_odds -= log_odds.max()
        powers = np.exp(log_odds)
        powers /= np.add.accumulate(powers)[-1]
        answer: list[float] = powers.astype(np.float32).tolist()
        return answer

    def contributions(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the SHAP values, shape (n, classes, features), of rows of shape (n, features)."""
        parts: NDArray[np.float64] = (rows - self._means)[:, None, :] * self._weights.T
        return parts

    def spread(self) -> NDArray[np.float64]:
        """Return the effect of each feature's spread in training on the log-odds, summed over the classes."""
        moved: NDArray[np.float64] = np.abs(self._weights).sum(axis=1) * np.abs(self._scales)
        return moved


def _are_floats(values: object, length: int) -> bool:
    return isinstance(values, list) and len(values) == length and all(type(value) is float for value in values)
