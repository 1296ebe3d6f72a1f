"""Trees of XGBoost, boosted or a forest; their pickle outlives an upgrade of XGBoost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model_artifact.card import Estimator, ModelCard, Predictor
from model_artifact.errors import DecisionTableError, NotTrainedError
from model_artifact.predictors.classifier import Classifier
from model_artifact.predictors.decision_table import DecisionTable, tabulate
from model_artifact.predictors.native_booster import NativeBooster


class TreePredictor(Classifier):
    """A classifier that answers from XGBoost, or from a decision table that was verified to equal it.

    NaN stands for a missing value.
    """

    def __init__(self) -> None:
        self.n_classes = 0
        self._booster: NativeBooster | None = None
        self._table: DecisionTable | None = None

    @property
    def n_features(self) -> int:
        return self._trained.n_features

    @property
    def predictor(self) -> Predictor:
        return "xgboost" if self._table is None else "decision table"

    def specialise(self) -> None:
        # Without a table XGBoost still answers, and the card records that.
        with suppress(DecisionTableError):
            self._table = tabulate(self._trained)

    def verify_predictor(self, card: ModelCard) -> str | None:
        if card.predictor != "decision table":
            return super().verify_predictor(card)
        try:
            self._table = tabulate(self._trained)
        except DecisionTableError as error:
            return f"cannot serve from the decision table that its card promises: {error}"
        if self._table.n_cells != card.table_cells:
            return (
                f"makes a decision table of {self._table.n_cells} cells, but its card records {card.table_cells}: it is"
                " another model"
            )
        return None

    def card_fields(self) -> dict[str, Any]:
        return super().card_fields() | {"table_cells": 0 if self._table is None else self._table.n_cells}

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        rows = self._checked(X)
        if self._table is not None:
            return self._table.predict(rows)
        # XGBoost rejects an empty array, which has no address.
        if not len(rows):
            return np.empty((0, self.n_classes), dtype=np.float32)
        return self._trained.predict(rows).reshape(len(rows), self.n_classes)

    def predict_one(self, values: Sequence[float]) -> list[float]:
        table = self._table
        return self._trained.predict_one(values) if table is None else table.predict_one(values)

    def explain(self, X: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = self._checked(X)
        parts = self._trained.contributions(rows).reshape(len(rows), self.n_classes, rows.shape[1] + 1)
        return parts[:, :, :-1], parts[:, :, -1]

    @property
    def _trained(self) -> NativeBooster:
        if self._booster is None:
            raise NotTrainedError(f"this {type(self).__name__} is not trained yet: call train(X, y) first")
        return self._booster

    def __getstate__(self) -> dict[str, Any]:
        # UBJSON is the format that XGBoost promises to read in later versions; its pickles it does not (xgboost#8745).
        return {**self.hyperparameters, "n_classes": self.n_classes, "booster": self._trained.save("ubj")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._restore_parameters(state, "n_classes", "booster")
        if not isinstance(state["booster"], bytes):
            raise ValueError("the pickled model does not hold its booster as bytes")
        if type(state["n_classes"]) is not int or state["n_classes"] < 2:
            raise ValueError("the pickled model does not hold a number of classes")
        self.n_classes = state["n_classes"]
        self._booster = NativeBooster(state["booster"])
        self._table = None


class BoostedTrees(TreePredictor):
    """Gradient-boosted trees."""

    estimator: ClassVar[Estimator] = "xgboost"
    parameter_names: ClassVar[tuple[str, ...]] = (
        "n_estimators",
        "max_depth",
        "learning_rate",
        "subsample",
        "colsample_bytree",
        "random_state",
    )


class RandomForestTrees(TreePredictor):
    """Trees that do not depend on each other."""

    estimator: ClassVar[Estimator] = "random-forest"
    parameter_names: ClassVar[tuple[str, ...]] = (
        "n_estimators",
        "max_depth",
        "subsample",
        "colsample_bynode",
        "learning_rate",
        "random_state",
    )
