"""Metrics of a classifier on held-out rows."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss
from sklearn.model_selection import StratifiedKFold

from model_artifact.card import CrossValidation


class _Trainable(Protocol):
    def train(self, X: NDArray[Any], y: NDArray[Any], /) -> Any: ...

    def predict(self, X: NDArray[Any], /) -> NDArray[np.int64]: ...


def classification_metrics(labels: NDArray[Any], probabilities: NDArray[Any]) -> dict[str, Any]:
    """Return accuracy, macro F1, log loss (natural logarithm) and confusion matrix.

    labels has shape (n,), probabilities (n, classes); confusion_matrix[i][j] counts rows of class i predicted as j.
    """
    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    # Sums of float32 probabilities differ from 1 by more than log_loss tolerates.
    normalised = probabilities.astype(np.float64)
    normalised /= normalised.sum(axis=1, keepdims=True)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)),
        "log_loss": float(log_loss(labels, normalised, labels=classes)),
        "confusion_matrix": confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def row_log_losses(labels: NDArray[Any], probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return the log loss of each row, shape (n,); arguments as for `classification_metrics`, which has the mean."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    chosen /= probabilities.sum(axis=1, dtype=np.float64)
    # Clipped as scikit-learn does: a row whose class got probability 0 has a finite loss.
    losses: NDArray[np.float64] = -np.log(np.clip(chosen, np.finfo(np.float64).eps, 1.0))
    return losses


def cross_validate(
    make_model: Callable[[], _Trainable], X: NDArray[Any], y: NDArray[Any], folds: int, seed: int
) -> CrossValidation:
    """Return the accuracy over stratified, shuffled folds, with a new model for each.

    Raises:
        ValueError: a class has fewer rows than there are folds.
    """
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    accuracies = []
    for train_rows, test_rows in splitter.split(X, y):
        model = make_model()
        model.train(X[train_rows], y[train_rows])
        accuracies.append(float(accuracy_score(y[test_rows], model.predict(X[test_rows]))))
    return CrossValidation(
        folds=folds, accuracy_mean=float(np.mean(accuracies)), accuracy_std=float(np.std(accuracies))
    )
