"""The estimator that is trained by default: boosted trees of XGBoost."""

from __future__ import annotations

from model_artifact.predictors.trees import BoostedTrees
from model_training.estimators.trees import TrainableTrees


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
