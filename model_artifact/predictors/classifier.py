"""The interface of every served model, and what all models share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_artifact.card import Estimator, ModelCard, Predictor


class Classifier(ABC):
    """A trained model that gives one probability per class.

    Features are numbers, one column each, in the order of training; classes are indices 0..k-1. Every method that needs
    a trained model raises NotTrainedError without one. All methods that predict are thread-safe.
    """

    estimator: ClassVar[Estimator]
    # Each is an attribute, and a field of the pickled state.
    parameter_names: ClassVar[tuple[str, ...]]
    n_classes: int

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Return the number of columns of a row."""

    @property
    @abstractmethod
    def predictor(self) -> Predictor:
        """Return what computes the answers."""

    @abstractmethod
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return probabilities of shape (n, classes) for rows X of shape (n, features).

        Raises:
            ValueError: X has another number of columns.
        """

    @abstractmethod
    def predict_one(self, values: Sequence[float]) -> list[float]:
        """Return the probabilities of one row, rounded to float32: the bits of `predict_proba`, much faster.

        Raises:
            OverflowError: a value is beyond float32.
            struct.error: the count of numbers is not the count of features, or one is an integer beyond a double.
        """

    @abstractmethod
    def explain(self, X: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return SHAP values, shape (n, classes, features), and base values, shape (n, classes), for n rows of X.

        The base value and the SHAP values of a class add up to its log-odds; their softmax is `predict_proba`.

        Raises:
            ValueError: X has another number of columns.
        """

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return the index of the most probable class for each row of X; raises as `predict_proba` does."""
        predicted: NDArray[np.int64] = self.predict_proba(X).argmax(axis=1)
        return predicted

    @property
    def hyperparameters(self) -> dict[str, int | float]:
        """Return the hyperparameters by name."""
        return {name: getattr(self, name) for name in self.parameter_names}

    def specialise(self) -> None:
        """Switch to a faster predictor that gives the same answers, where the model has one."""
        return

    def verify_predictor(self, card: ModelCard) -> str | None:
        """Make the card's predictor compute the answers; return None, or a clause with the reason why it cannot."""
        if self.predictor == card.predictor:
            return None
        return f"is served by {self.predictor}, but its card records {card.predictor}"

    def card_fields(self) -> dict[str, Any]:
        """Return the fields of the card that describe the model itself."""
        return {"estimator": self.estimator, "hyperparameters": self.hyperparameters, "predictor": self.predictor}

    def _checked(self, X: ArrayLike) -> NDArray[np.float32]:
        rows = as_rows(X)
        # XGBoost's own check costs more than the prediction of a row.
        if rows.shape[1] != self.n_features:
            raise ValueError(f"a row has {self.n_features} features, not {rows.shape[1]}")
        return rows

    def _restore_parameters(self, state: dict[str, Any], *fields: str) -> None:
        """Set the hyperparameters from a pickled state, which must hold them and `fields`, and nothing else.

        Raises:
            ValueError: it does not.
        """
        if not isinstance(state, dict) or state.keys() != {*self.parameter_names, *fields}:
            raise ValueError("the pickled model does not hold the fields that this program knows")
        if not all(_is_number(state[name]) for name in self.parameter_names):
            raise ValueError("the pickled model has a hyperparameter that is no number")
        for name in self.parameter_names:
            setattr(self, name, state[name])


def as_rows(X: ArrayLike) -> NDArray[np.float32]:
    """Return rows as models read them: float32 in row-major order.

    Raises:
        ValueError: X does not have two dimensions.
    """
    rows = np.ascontiguousarray(X, dtype=np.float32)
    if rows.ndim != 2:
        raise ValueError(f"rows must have shape (n, features), not {rows.shape}")
    return rows


def _is_number(value: object) -> bool:
    """Return whether it is a finite int or float of Python's own, the only kinds that a hyperparameter may have."""
    return type(value) is int or (type(value) is float and math.isfinite(value))
