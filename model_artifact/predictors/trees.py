"""Trees of XGBoost, boosted or a forest: they pickle to a form which outlives an upgrade of XGBoost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_artifact.card import Estimator, Predictor
from model_artifact.predictors.classifier import NotTrainedError, as_labels, as_rows, is_number, shares
from model_artifact.predictors.decision_table import DecisionTable, tabulate
from model_artifact.predictors.native_booster import NativeBooster

# The package itself is imported to train only: it costs each worker of the API a second and 100 MB.
if TYPE_CHECKING:
    import xgboost

# One thread for training, too: sums of floats depend on how many threads add them up, and the same seed has to give
# the same bits on any number of cores.
_THREADS = 1


class TreeModel:
    """A `Classifier` whose trees XGBoost trains and answers from, or a decision table in its place."""

    estimator: ClassVar[Estimator]
    # The constructor's arguments, each an attribute.
    parameter_names: ClassVar[tuple[str, ...]]
    # Into how many steps a feature's values are sorted before the trees are grown; XGBoost's own default.
    max_bin: ClassVar[int] = 256

    def __init__(self) -> None:
        self.n_classes = 0
        self._native: NativeBooster | None = None
        self._table: DecisionTable | None = None

    @property
    def hyperparameters(self) -> dict[str, int | float]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in self.parameter_names}

    @property
    def booster(self) -> xgboost.Booster:
        """The trained trees as XGBoost's Python package has them, a copy: to look into, not to serve from.

        Raises:
            NotTrainedError: `train` has not run.
        """
        import xgboost

        booster = xgboost.Booster({"nthread": _THREADS})
        booster.load_model(bytearray(self._trained.save("ubj")))
        return booster

    @property
    def n_features(self) -> int:
        """Columns that a row has."""
        return self._trained.n_features

    @property
    def predictor(self) -> Predictor:
        """What answers `predict_proba` and `predict_one`: they give the same bits either way."""
        return "xgboost" if self._table is None else "decision table"

    @property
    def table_cells(self) -> int:
        """Cells of the decision table, 0 where there is none."""
        return 0 if self._table is None else self._table.n_cells

    def tabulate(self) -> Self:
        """Answer from a decision table from now on, which is made of the trees and proved to equal them.

        Raises:
            NotTrainedError: `train` has not run.
            TableError: the trees have no such table, and XGBoost goes on answering; the message is a clause.
        """
        self._table = None
        self._table = tabulate(self._trained)
        return self

    def train(self, X: ArrayLike, y: ArrayLike, progress: Callable[[float], None] | None = None) -> Self:
        """Fit on rows X, shape (n, features), and labels y, shape (n,); NaN stands for a missing value.

        progress is called after each round with the share of rounds that are done.

        Raises:
            ValueError: shapes differ, or the labels are not 0..k-1 with k of at least 2.
        """
        import xgboost

        rows = as_rows(X)
        labels, n_classes = as_labels(y, len(rows))
        parameters, rounds = self._training()
        parameters |= {
            "objective": "multi:softprob",
            "num_class": n_classes,
            "nthread": _THREADS,
            "max_bin": self.max_bin,
        }
        # The same trees as from a DMatrix, which would hold the rows once more, at eight bytes a value.
        matrix = xgboost.QuantileDMatrix(rows, label=labels, nthread=_THREADS, max_bin=self.max_bin)
        callbacks = [_round_counter(progress, rounds)] if progress else []
        booster = xgboost.train(parameters, matrix, num_boost_round=rounds, callbacks=callbacks)
        self._native = NativeBooster(bytes(booster.save_raw(raw_format="ubj")))
        self._table = None
        self.n_classes = n_classes
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities of shape (n, classes) for rows X of shape (n, features).

        Raises:
            NotTrainedError: `train` has not run.
            ValueError: X has another number of columns.
        """
        rows = self._checked(X)
        if self._table is not None:
            return self._table.predict(rows)
        # XGBoost takes no address of nothing.
        if not len(rows):
            return np.empty((0, self.n_classes), dtype=np.float32)
        return self._trained.predict(rows).reshape(len(rows), self.n_classes)

    def predict_one(self, values: Sequence[float]) -> list[float]:
        """Probabilities of one row's values, in the order of the features: those of `predict_proba`, much faster.

        The values are rounded to float32; NaN stands for a missing one. Safe in several threads at once.

        Raises:
            NotTrainedError: `train` has not run.
            OverflowError: a value is beyond float32.
            struct.error: there are not as many numbers as features, or one is an integer beyond a double.
        """
        table = self._table
        return self._trained.predict_one(values) if table is None else table.predict_one(values)

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """The most probable class's index for each row of X; raises as `predict_proba` does."""
        predicted: NDArray[np.int64] = self.predict_proba(X).argmax(axis=1)
        return predicted

    def explain(self, X: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What each feature adds to each class's margin: TreeSHAP contributions and the base values they start from.

        Shapes are (n, classes, features) and (n, classes) for n rows of X. A class's base value and
        contributions add up to the margin, whose softmax over the classes is `predict_proba`. Safe in several threads
        at once; raises as `predict_proba` does.
        """
        rows = self._checked(X)
        parts = self._trained.contributions(rows)
        shaped = parts.reshape(len(rows), self.n_classes, rows.shape[1] + 1)
        return shaped[:, :, :-1], shaped[:, :, -1]

    def importance(self) -> NDArray[np.float64]:
        """Each feature's share of the total gain of all splits; needs XGBoost's Python package.

        Raises:
            NotTrainedError: `train` has not run.
        """
        gains = self.booster.get_score(importance_type="total_gain")
        return shares(np.array([np.sum(gains.get(f"f{index}", 0.0)) for index in range(self.n_features)], dtype=float))

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, Any]:
        """Accuracy, macro F1, log loss and confusion matrix on held-out rows; raises as `predict_proba` does."""
        # scikit-learn is a training package; the API imports this module without having it.
        from model_training.evaluation import classification_metrics

        return classification_metrics(np.asarray(y), self.predict_proba(X))

    def _training(self) -> tuple[dict[str, int | float | str], int]:
        """XGBoost's parameters of this estimator, and the number of rounds."""
        raise NotImplementedError

    @property
    def _trained(self) -> NativeBooster:
        if self._native is None:
            raise NotTrainedError(f"this {type(self).__name__} is not trained yet: call train(X, y) first")
        return self._native

    def _checked(self, X: ArrayLike) -> NDArray[np.float32]:
        rows = as_rows(X)
        # XGBoost's own check costs more than the prediction of a row.
        if rows.shape[1] != self.n_features:
            raise ValueError(f"a row has {self.n_features} features, not {rows.shape[1]}")
        return rows

    def __getstate__(self) -> dict[str, Any]:
        # UBJSON is the format that XGBoost promises to read in later versions; its pickles it does not (xgboost#8745).
        return {**self.hyperparameters, "n_classes": self.n_classes, "booster": self._trained.save("ubj")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        name = type(self).__name__
        if not isinstance(state, dict) or state.keys() != {*self.parameter_names, "n_classes", "booster"}:
            raise ValueError(f"the pickled {name} does not hold the fields that this program knows")
        if not isinstance(state["booster"], bytes):
            raise ValueError(f"the pickled {name} does not hold its booster as bytes")
        if type(state["n_classes"]) is not int or state["n_classes"] < 2:
            raise ValueError(f"the pickled {name} does not hold a number of classes")
        if not all(is_number(state[parameter]) for parameter in self.parameter_names):
            raise ValueError(f"the pickled {name} has a hyperparameter that is no number")
        for parameter in self.parameter_names:
            setattr(self, parameter, state[parameter])
        self.n_classes = state["n_classes"]
        self._native = NativeBooster(state["booster"])
        self._table = None


def _round_counter(progress: Callable[[float], None], rounds: int) -> xgboost.callback.TrainingCallback:
    import xgboost

    class Counter(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, _model: Any, epoch: int, _evals_log: Any) -> bool:
            progress((epoch + 1) / rounds)
            return False

    return Counter()
