"""The baseline of many trees that know nothing of each other: XGBoost's random forest, one round of them."""

from __future__ import annotations

from typing import ClassVar

from model_artifact.card import Estimator
from model_artifact.predictors.trees import TreeModel


class RandomForest(TreeModel):
    """Trees that are each grown on a part of the rows, with a part of the features at each split.

    `Classifier` says what it can do.
    """

    estimator: ClassVar[Estimator] = "random-forest"
    parameter_names: ClassVar[tuple[str, ...]] = (
        "n_estimators",
        "max_depth",
        "subsample",
        "colsample_bynode",
        "learning_rate",
        "random_state",
    )
    # A third of the time of 256 for deep trees, and no worse a forest.
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

    def _training(self) -> tuple[dict[str, int | float | str], int]:
        parameters: dict[str, int | float | str] = {
            "num_parallel_tree": self.n_estimators,
            "max_depth": self.max_depth,
            "subsample": self.subsample,
            "colsample_bynode": self.colsample_bynode,
            # A forest takes one step, and one step of Newton's stops far short of certainty even where all trees agree.
            "learning_rate": self.learning_rate,
            # Trees that grow to the end, as a forest's do: the defaults are meant for boosting.
            "reg_lambda": 1e-5,
            "min_child_weight": 0.1,
            "seed": self.random_state,
        }
        return parameters, 1
