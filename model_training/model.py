"""Train trees with XGBoost's Python package: IrisModel is the estimator by default."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_artifact.predictors.classifier import as_rows
from model_artifact.predictors.native_booster import NativeBooster
from model_artifact.predictors.trees import BoostedTrees, TreePredictor
from model_training.trainable import TrainableClassifier, as_labels, shares

# The package takes a second and 100 MB to import: only training pays for it.
if TYPE_CHECKING:
    import xgboost

# Sums of floats depend on the number of threads that add them up, and one seed must give the same bits on any machine.
_THREADS = 1


class TrainableTrees(TrainableClassifier, TreePredictor):
    """Trees that XGBoost trains; a subclass names the parameters."""

    # Bins per feature; 256 is XGBoost's own default.
    max_bin: ClassVar[int] = 256

    @abstractmethod
    def _training_parameters(self) -> tuple[dict[str, int | float | str], int]:
        """Return XGBoost's parameters and the number of rounds."""

    @property
    def booster(self) -> xgboost.Booster:
        """Return a copy of the trained trees as XGBoost's Python package holds them, for inspection.

        Raises:
            NotTrainedError: `train` has not run.
        """
        import xgboost

        booster = xgboost.Booster({"nthread": _THREADS})
        booster.load_model(bytearray(self._trained.save("ubj")))
        return booster

    def train(self, X: ArrayLike, y: ArrayLike, progress: Callable[[float], None] | None = None) -> Self:
        import xgboost

        rows = as_rows(X)
        labels, n_classes = as_labels(y, len(rows))
        parameters, rounds = self._training_parameters()
        parameters |= {
            "objective": "multi:softprob",
            "num_class": n_classes,
            "nthread": _THREADS,
            "max_bin": self.max_bin,
        }
        # A DMatrix would give the same trees, but copies the rows at eight bytes per value.
        matrix = xgboost.QuantileDMatrix(rows, label=labels, nthread=_THREADS, max_bin=self.max_bin)
        callbacks = [_round_counter(progress, rounds)] if progress else []
        booster = xgboost.train(parameters, matrix, num_boost_round=rounds, callbacks=callbacks)
        self._booster = NativeBooster(bytes(booster.save_raw(raw_format="ubj")))
        self._table = None
        self.n_classes = n_classes
        return self

    def importance(self) -> NDArray[np.float64]:
        """Return each feature's share of the total gain of all splits; see `TrainableClassifier.importance`."""
        gains = self.booster.get_score(importance_type="total_gain")
        return shares(np.array([np.sum(gains.get(f"f{index}", 0.0)) for index in range(self.n_features)], dtype=float))


class IrisModel(TrainableTrees, BoostedTrees):
    """Gradient-boosted trees for any table.

    Pickles hold this name, which is older than the support for other tables.
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
        super().__init__()
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.random_state = random_state

    def _training_parameters(self) -> tuple[dict[str, int | float | str], int]:
        parameters: dict[str, int | float | str] = {
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "seed": self.random_state,
        }
        return parameters, self.n_estimators


def _round_counter(progress: Callable[[float], None], rounds: int) -> xgboost.callback.TrainingCallback:
    import xgboost

    class Counter(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, _model: Any, epoch: int, _evals_log: Any) -> bool:
            progress((epoch + 1) / rounds)
            return False

    return Counter()
