"""The linear baseline: scikit-learn trains it on scaled features, and NumPy alone answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_artifact.card import Estimator, Predictor
from model_artifact.predictors.classifier import NotTrainedError, as_labels, as_rows, is_number, shares
from model_artifact.predictors.decision_table import TableError
from model_artifact.predictors.linear_formula import LinearFormula


class LogisticRegression:
    """A class's margin is a weighted sum of the features, and softmax over the margins gives the probabilities.

    `Classifier` says what it can do. Every value is needed: NaN in a row makes NaN of its probabilities.
    """

    estimator: ClassVar[Estimator] = "logistic-regression"
    parameter_names: ClassVar[tuple[str, ...]] = ("C", "max_iter")

    def __init__(self, C: float = 1.0, max_iter: int = 1000) -> None:
        self.C = C
        self.max_iter = max_iter
        self.n_classes = 0
        self._formula: LinearFormula | None = None

    @property
    def hyperparameters(self) -> dict[str, int | float]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in self.parameter_names}

    @property
    def n_features(self) -> int:
        """Columns that a row has."""
        return self._trained.n_features

    @property
    def predictor(self) -> Predictor:
        """What answers: the formula."""
        return "linear"

    @property
    def table_cells(self) -> int:
        """There is no decision table."""
        return 0

    def tabulate(self) -> Self:
        """There is no decision table to make.

        Raises:
            TableError: always.
        """
        raise TableError("it is a linear model, whose answers change with every value")

    def train(
        self,
        X: ArrayLike,
        y: ArrayLike,
        progress: Callable[[float], None] | None = None,  # noqa: ARG002 (nobody knows how many steps are left)
    ) -> Self:
        """Fit on rows X, shape (n, features), and labels y, shape (n,); nothing is left to chance.

        Raises:
            ValueError: shapes differ, the labels are not 0..k-1 with k of at least 2, or a value is missing.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Trainer
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits

        # In double precision, but of what will be asked for: float32.
        rows = as_rows(X).astype(np.float64)
        labels, n_classes = as_labels(y, len(rows))
        if not np.isfinite(rows).all():
            raise ValueError(
                "logistic regression needs every value of every row: fill in the missing ones, or choose an estimator"
                " of trees"
            )
        # One thread, for the same bits on any number of cores.
        with threadpool_limits(limits=1), warnings.catch_warnings():
            # Where the optimiser stops early, the gate judges what it came to.
            warnings.simplefilter("ignore", ConvergenceWarning)
            scaler = StandardScaler(copy=False)
            trained = Trainer(C=self.C, max_iter=self.max_iter).fit(scaler.fit_transform(rows), labels)
        weights, base = trained.coef_, trained.intercept_
        if n_classes == 2:
            # scikit-learn has one margin then, of the second class over the first.
            weights, base = np.concatenate([-weights, weights]) / 2, np.concatenate([-base, base]) / 2
        self._formula = LinearFormula(
            weights=(weights / scaler.scale_).tolist(),
            base_values=base.tolist(),
            means=scaler.mean_.tolist(),
            scales=scaler.scale_.tolist(),
        )
        self.n_classes = n_classes
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities of shape (n, classes) for rows X of shape (n, features).

        Raises:
            NotTrainedError: `train` has not run.
            ValueError: X has another number of columns.
        """
        return self._trained.predict(self._checked(X))

    def predict_one(self, values: Sequence[float]) -> list[float]:
        """Probabilities of one row's values, in the order of the features: those of `predict_proba`, much faster.

        The values are rounded to float32. Safe in several threads at once.

        Raises:
            NotTrainedError: `train` has not run.
            OverflowError: a value is beyond float32.
            struct.error: there are not as many numbers as features, or one is an integer beyond a double.
        """
        return self._trained.predict_one(values)

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """The most probable class's index for each row of X; raises as `predict_proba` does."""
        predicted: NDArray[np.int64] = self.predict_proba(X).argmax(axis=1)
        return predicted

    def explain(self, X: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What each feature adds to each class's margin: exact SHAP values, and the base values they start from.

        A weight times the distance from the training rows' mean, and the margin at the means. Shapes are
        (n, classes, features) and (n, classes) for n rows of X. A class's base value and contributions add up to
        the margin, whose softmax over the classes is `predict_proba`; raises as that does.
        """
        rows = self._checked(X)
        return self._trained.contributions(rows), np.tile(self._trained.base_values, (len(rows), 1))

    def importance(self) -> NDArray[np.float64]:
        """Each feature's share of the weights, had all features the same spread: their sizes, summed over the classes.

        Raises:
            NotTrainedError: `train` has not run.
        """
        return shares(self._trained.spread())

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, Any]:
        """Accuracy, macro F1, log loss and confusion matrix on held-out rows; raises as `predict_proba` does."""
        # scikit-learn is a training package; the API imports this module without having it.
        from model_training.evaluation import classification_metrics

        return classification_metrics(np.asarray(y), self.predict_proba(X))

    @property
    def _trained(self) -> LinearFormula:
        if self._formula is None:
            raise NotTrainedError("this LogisticRegression is not trained yet: call train(X, y) first")
        return self._formula

    def _checked(self, X: ArrayLike) -> NDArray[np.float32]:
        rows = as_rows(X)
        if rows.shape[1] != self.n_features:
            raise ValueError(f"a row has {self.n_features} features, not {rows.shape[1]}")
        return rows

    def __getstate__(self) -> dict[str, Any]:
        # Lists of floats: to open a pickle of arrays, functions of NumPy would have to be admitted.
        return {**self.hyperparameters, "formula": self._trained.as_lists()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not isinstance(state, dict) or state.keys() != {*self.parameter_names, "formula"}:
            raise ValueError("the pickled LogisticRegression does not hold the fields that this program knows")
        if not all(is_number(state[parameter]) for parameter in self.parameter_names):
            raise ValueError("the pickled LogisticRegression has a hyperparameter that is no number")
        formula = LinearFormula.from_lists(state["formula"])
        for parameter in self.parameter_names:
            setattr(self, parameter, state[parameter])
        self._formula = formula
        self.n_classes = len(formula.base_values)
