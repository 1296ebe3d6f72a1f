"""The interface of every model that can be trained, and what all of them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_artifact.predictors.classifier import Classifier


class TrainableClassifier(Classifier):
    """A classifier with the methods that only training needs."""

    @abstractmethod
    def train(self, X: ArrayLike, y: ArrayLike, progress: Callable[[float], None] | None = None) -> Self:
        """Fit on rows X, shape (n, features), and labels y, shape (n,); progress takes the share that is done.

        Raises:
            ValueError: shapes differ, the labels are not 0..k-1 with k of at least 2, or a value cannot be used.
        """

    @abstractmethod
    def importance(self) -> NDArray[np.float64]:
        """Return the importance of each feature as shares of 1, shape (features,); all 0 where no feature matters.

        Raises:
            NotTrainedError: `train` has not run.
        """

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, Any]:
        """Return accuracy, macro F1, log loss and confusion matrix on held-out rows; raises as `predict_proba` does."""
        # The training service imports the estimators without loading scikit-learn.
        from model_training.evaluation import classification_metrics

        return classification_metrics(np.asarray(y), self.predict_proba(X))


def as_labels(y: ArrayLike, n_rows: int) -> tuple[NDArray[Any], int]:
    """Return labels to train on, and the number of classes.

    Raises:
        ValueError: there are not n_rows labels, or they are not 0..k-1 with k of at least 2.
    """
    labels = np.asarray(y)
    if labels.shape != (n_rows,):
        raise ValueError(f"{n_rows} rows need as many labels, not an array of shape {labels.shape}")
    classes = np.unique(labels)
    if len(classes) < 2 or not np.array_equal(classes, np.arange(len(classes))):
        raise ValueError(f"labels must be 0..k-1 with at least two classes, not {classes.tolist()}")
    return labels, len(classes)


def shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values divided by their sum; all 0 where that is 0."""
    return values / (values.sum() or 1.0)
