"""What every estimator can do, and what all of them share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_artifact.card import Estimator, Predictor


class NotTrainedError(RuntimeError):
    """The model was asked for something that only a trained one has."""


class Classifier(Protocol):
    """A model with one probability a class.

    Labels are class indices 0..k-1; features are numbers, one column a feature, in the order of training. Whatever
    needs a trained model raises NotTrainedError before `train` has run; whatever takes rows raises ValueError when
    they have another number of columns. Asking is safe in several threads at once.
    """

    estimator: ClassVar[Estimator]
    n_classes: int

    @property
    def hyperparameters(self) -> dict[str, int | float]:
        """The constructor's arguments by name."""

    @property
    def n_features(self) -> int:
        """Columns that a row has."""

    @property
    def predictor(self) -> Predictor:
        """What answers `predict_proba` and `predict_one`."""

    @property
    def table_cells(self) -> int:
        """Cells of the decision table, 0 where there is none."""

    def train(self, X: ArrayLike, y: ArrayLike, progress: Callable[[float], None] | None = None) -> Self:
        """Fit on rows X, shape (n, features), and labels y, shape (n,); progress is told the share that is done.

        Raises:
            ValueError: shapes differ, the labels are not 0..k-1 with k of at least 2, or the values do not suit.
        """

    def tabulate(self) -> Self:
        """Answer from a decision table from now on.

        Raises:
            TableError: there is none, and what answered before goes on; the message is a clause.
        """

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities of shape (n, classes) for rows X of shape (n, features)."""

    def predict_one(self, values: Sequence[float]) -> list[float]:
        """Probabilities of one row's values, rounded to float32: the bits of `predict_proba`, much faster.

        Raises:
            OverflowError: a value is beyond float32.
            struct.error: there are not as many numbers as features, or one is an integer beyond a double.
        """

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """The most probable class's index for each row of X."""

    def explain(self, X: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        """What each feature adds to each class's margin: SHAP values and the base values they start from.

        Shapes are (n, classes, features) and (n, classes) for n rows of X. A class's base value and contributions
        add up to the margin, whose softmax over the classes is `predict_proba`.
        """

    def importance(self) -> NDArray[np.float64]:
        """How much each feature matters, as shares of 1, shape (features,); all 0 where none does."""

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, Any]:
        """Accuracy, macro F1, log loss and confusion matrix on held-out rows."""


def as_rows(X: ArrayLike) -> NDArray[np.float32]:
    """Rows as models read them: float32 in row-major order.

    Raises:
        ValueError: X does not have two dimensions.
    """
    rows = np.ascontiguousarray(X, dtype=np.float32)
    if rows.ndim != 2:
        raise ValueError(f"rows must have shape (n, features), not {rows.shape}")
    return rows


def as_labels(y: ArrayLike, n_rows: int) -> tuple[NDArray[Any], int]:
    """Labels to train on, and how many classes there are.

    Raises:
        ValueError: there are not n_rows of them, or they are not 0..k-1 with k of at least 2.
    """
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        raise ValueError(f"{n_rows} rows need as many labels, not an array of shape {labels.shape}")
    classes = np.unique(labels)
    if len(classes) < 2 or not np.array_equal(classes, np.arange(len(classes))):
        raise ValueError(f"labels must be 0..k-1 with at least two classes, not {classes.tolist()}")
    return labels, len(classes)


def shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values divided by their sum; all 0 where that is 0."""
    return values / (values.sum() or 1.0)


def is_number(value: object) -> bool:
    """Whether it is a finite integer or float of Python's own: what a pickled hyperparameter may be."""
    return type(value) is int or (type(value) is float and math.isfinite(value))
