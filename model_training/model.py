"""The estimator: an XGBoost classifier that pickles to a form which outlives an upgrade of XGBoost."""

from typing import Any, Self

import numpy as np
import xgboost
from numpy.typing import ArrayLike, NDArray

HYPERPARAMETERS = ("n_estimators", "max_depth", "learning_rate", "subsample", "colsample_bytree", "random_state")
_STATE_KEYS = {*HYPERPARAMETERS, "booster", "n_classes"}

# One thread for training, too: sums of floats depend on how many threads add them up, and the same seed has to give
# the same bits on any number of cores.
_THREADS = 1


class NotTrainedError(RuntimeError):
    """The model was asked for something that only a trained one has."""


class IrisModel:
    """Gradient-boosted trees with one probability a class.

    Labels are class indices 0..k-1; features are numbers, one column a feature, in the order of training.
    """

    def __init__(
        self,
        n_estimators: int = 100,
        max_depth: int = 4,
        learning_rate: float = 0.1,
        subsample: float = 0.8,
        colsample_bytree: float = 0.8,
        random_state: int = 42,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.random_state = random_state
        self.n_classes = 0
        self._booster: xgboost.Booster | None = None

    @property
    def hyperparameters(self) -> dict[str, int | float]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in HYPERPARAMETERS}

    @property
    def booster(self) -> xgboost.Booster:
        """The trained trees.

        Raises:
            NotTrainedError: `train` has not run.
        """
        if self._booster is None:
            raise NotTrainedError("this IrisModel is not trained yet: call train(X, y) first")
        return self._booster

    @property
    def n_features(self) -> int:
        """Columns that a row has."""
        return int(self.booster.num_features())

    def train(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on rows X, shape (n, features), and labels y, shape (n,).

        Raises:
            ValueError: shapes differ, or the labels are not 0..k-1 with k of at least 2.
        """
        rows = _as_rows(X)
        labels = np.asarray(y)
        if labels.shape != (len(rows),):
            raise ValueError(f"{len(rows)} rows need as many labels, not an array of shape {labels.shape}")
        classes = np.unique(labels)
        if len(classes) < 2 or not np.array_equal(classes, np.arange(len(classes))):
            raise ValueError(f"labels must be 0..k-1 with at least two classes, not {classes.tolist()}")
        parameters = {
            "objective": "multi:softprob",
            "num_class": len(classes),
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "seed": self.random_state,
            "nthread": _THREADS,
        }
        self._booster = xgboost.train(
            parameters, xgboost.DMatrix(rows, label=labels, nthread=_THREADS), num_boost_round=self.n_estimators
        )
        self.n_classes = len(classes)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities of shape (n, classes) for rows X of shape (n, features).

        Raises:
            NotTrainedError: `train` has not run.
            ValueError: X has another number of columns.
        """
        rows = self._checked(X)
        # A DMatrix for each request would cost ten times the prediction (xgboost#10308).
        probabilities = self.booster.inplace_predict(rows, validate_features=False)
        return np.asarray(probabilities, dtype=np.float32).reshape(len(rows), self.n_classes)

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """The most probable class's index for each row of X; raises as `predict_proba` does."""
        predicted: NDArray[np.int64] = self.predict_proba(X).argmax(axis=1)
        return predicted

    def explain(self, X: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What each feature adds to each class's margin: TreeSHAP contributions and the base values they start from.

        Contributions have the shape (n, classes, features), base values (n, classes); a base value and its
        contributions add up to the margin, whose softmax over the classes is `predict_proba`. Safe in several threads
        at once; raises as `predict_proba` does.
        """
        rows = self._checked(X)
        # Contributions come from a DMatrix only; its thread per core would cost more than the row.
        matrix = xgboost.DMatrix(rows, nthread=_THREADS)
        parts = self.booster.predict(matrix, pred_contribs=True, validate_features=False, strict_shape=True)
        shaped = np.asarray(parts, dtype=np.float32).reshape(len(rows), self.n_classes, rows.shape[1] + 1)
        return shaped[:, :, :-1], shaped[:, :, -1]

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, Any]:
        """Accuracy, macro F1, log loss and confusion matrix on held-out rows; raises as `predict_proba` does."""
        # scikit-learn is a training package; the API imports this module without having it.
        from model_training.evaluation import classification_metrics

        return classification_metrics(np.asarray(y), self.predict_proba(X))

    def _checked(self, X: ArrayLike) -> NDArray[np.float32]:
        rows = _as_rows(X)
        # XGBoost's own check costs more than the prediction of a row.
        if rows.shape[1] != self.n_features:
            raise ValueError(f"a row has {self.n_features} features, not {rows.shape[1]}")
        return rows

    def __getstate__(self) -> dict[str, Any]:
        # UBJSON is the format that XGBoost promises to read in later versions; its pickles it does not (xgboost#8745).
        booster = bytes(self.booster.save_raw(raw_format="ubj"))
        return {**self.hyperparameters, "n_classes": self.n_classes, "booster": booster}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not isinstance(state, dict) or state.keys() != _STATE_KEYS:
            raise ValueError("the pickled IrisModel does not hold the fields that this program knows")
        # XGBoost 3.2 ends the process when it loads an empty one.
        if not isinstance(state["booster"], bytes) or not state["booster"]:
            raise ValueError("the pickled IrisModel does not hold its booster as bytes")
        for name in HYPERPARAMETERS:
            setattr(self, name, state[name])
        self.n_classes = int(state["n_classes"])
        self._booster = xgboost.Booster()
        self._booster.load_model(bytearray(state["booster"]))
        # Not stored in the model: a loaded booster would use every core of the machine (xgboost#8869), in every worker.
        self._booster.set_param({"nthread": _THREADS})


def _as_rows(X: ArrayLike) -> NDArray[np.float32]:
    rows = np.ascontiguousarray(X, dtype=np.float32)
    if rows.ndim != 2:
        raise ValueError(f"rows must have shape (n, features), not {rows.shape}")
    return rows
