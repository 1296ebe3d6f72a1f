"""The estimator that is trained by default: boosted trees of XGBoost."""

from __future__ import annotations

from typing import ClassVar

from model_artifact.card import Estimator
from model_artifact.predictors.classifier import NotTrainedError
from model_artifact.predictors.trees import TreeModel

__all__ = ["HYPERPARAMETERS", "IrisModel", "NotTrainedError"]

HYPERPARAMETERS = ("n_estimators", "max_depth", "learning_rate", "subsample", "colsample_bytree", "random_state")


class IrisModel(TreeModel):
    """Gradient-boosted trees with one probability a class, for any table: `Classifier` says what it can do.

    The name is that of the first table; pickles hold it.
    """

    estimator: ClassVar[Estimator] = "xgboost"
    parameter_names: ClassVar[tuple[str, ...]] = HYPERPARAMETERS

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

    def _training(self) -> tuple[dict[str, int | float | str], int]:
        parameters: dict[str, int | float | str] = {
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "seed": self.random_state,
        }
        return parameters, self.n_estimators
