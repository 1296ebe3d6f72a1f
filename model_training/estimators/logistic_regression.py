"""The linear baseline: scikit-learn trains it on scaled features."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_artifact.predictors.classifier import as_rows
from model_artifact.predictors.linear import LinearFormula, LinearPredictor
from model_training.trainable import TrainableClassifier, as_labels, shares


class LogisticRegression(TrainableClassifier, LinearPredictor):
    """A linear model with one weight per class and feature."""

    def __init__(self, C: float = 1.0, max_iter: int = 1000) -> None:
        super().__init__()
        self.C = C
        self.max_iter = max_iter

    def train(
        self,
        X: ArrayLike,
        y: ArrayLike,
        progress: Callable[[float], None] | None = None,  # noqa: ARG002 (the optimiser does not report its steps)
    ) -> Self:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Trainer
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits

        # The optimiser needs double precision, of the float32 values that the API will pass.
        rows = as_rows(X).astype(np.float64)
        labels, n_classes = as_labels(y, len(rows))
        if not np.isfinite(rows).all():
            raise ValueError(
                "logistic regression needs every value of every row: fill in the missing ones, or choose an estimator"
                " of trees"
            )
        # One thread gives the same bits on any number of cores.
        with threadpool_limits(limits=1), warnings.catch_warnings():
            # Where the optimiser stops early, the gate decides about the result.
            warnings.simplefilter("ignore", ConvergenceWarning)
            scaler = StandardScaler(copy=False)
            trained = Trainer(C=self.C, max_iter=self.max_iter).fit(scaler.fit_transform(rows), labels)
        weights, base = trained.coef_, trained.intercept_
        if n_classes == 2:
            # scikit-learn gives the log-odds of the second class over the first.
            weights, base = np.concatenate([-weights, weights]) / 2, np.concatenate([-base, base]) / 2
        self._formula = LinearFormula(
            weights=(weights / scaler.scale_).tolist(),
            base_values=base.tolist(),
            means=scaler.mean_.tolist(),
            scales=scaler.scale_.tolist(),
        )
        self.n_classes = n_classes
        return self

    def importance(self) -> NDArray[np.float64]:
        """Return each feature's share of the weights of scaled features; see `TrainableClassifier.importance`."""
        return shares(self._trained.spread())
