"""A random forest: XGBoost grows all its trees in one round of boosting."""

from __future__ import annotations

from typing import ClassVar

from model_artifact.predictors.trees import RandomForestTrees
from model_training.model import TrainableTrees


class RandomForest(TrainableTrees, RandomForestTrees):
    """Trees that each see a share of the rows, and a share of the features at each split."""

    # A third of the training time of 256 bins for deep trees, with the same quality.
    max_bin: ClassVar[int] = 64

    def __init__(
        self,
        n_estimators: int = 100,
        max_depth: int = 12,
        subsample: float = 0.8,
        colsample_bynode: float = 0.35,
        learning_rate: float = 2.0,
        random_state: int = 42,
    ) -> None:
        super().__init__()
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.subsample = subsample
        self.colsample_bynode = colsample_bynode
        self.learning_rate = learning_rate
        self.random_state = random_state

    def _training_parameters(self) -> tuple[dict[str, int | float | str], int]:
        parameters: dict[str, int | float | str] = {
            "num_parallel_tree": self.n_estimators,
            "max_depth": self.max_depth,
            "subsample": self.subsample,
            "colsample_bynode": self.colsample_bynode,
            # One Newton step stops far short of certainty, even where all trees agree.
            "learning_rate": self.learning_rate,
            # The trees of a forest are fully grown; XGBoost's defaults suit boosting.
            "reg_lambda": 1e-5,
            "min_child_weight": 0.1,
            "seed": self.random_state,
        }
        return parameters, 1
