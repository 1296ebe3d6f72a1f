"""The estimators by name, and their hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from model_artifact.card import Estimator
from model_training.estimators.logistic_regression import LogisticRegression
from model_training.estimators.random_forest import RandomForest
from model_training.model import IrisModel
from model_training.trainable import TrainableClassifier

ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)


class Hyperparameter(msgspec.Struct, frozen=True):
    """A hyperparameter: its kind, default, inclusive bounds, and a sentence of help."""

    kind: Literal["integer", "float"]
    default: int | float
    minimum: int | float
    maximum: int | float
    help: str


_ROWS = Hyperparameter("float", 0.8, 0.01, 1.0, "Share of the rows that each tree sees.")

PARAMETERS: dict[Estimator, dict[str, Hyperparameter]] = {
    "xgboost": {
        "n_estimators": Hyperparameter("integer", 100, 1, 10_000, "Rounds of boosting, each with one tree per class."),
        "max_depth": Hyperparameter("integer", 4, 1, 32, "Depth of a tree."),
        "learning_rate": Hyperparameter("float", 0.1, 0.0001, 1.0, "Shrinkage of each round."),
        "subsample": _ROWS,
        "colsample_bytree": Hyperparameter("float", 0.8, 0.01, 1.0, "Share of the features that each tree sees."),
    },
    "random-forest": {
        "n_estimators": Hyperparameter("integer", 100, 1, 10_000, "Trees per class."),
        "max_depth": Hyperparameter("integer", 12, 1, 32, "Depth of a tree."),
        "subsample": _ROWS,
        "colsample_bynode": Hyperparameter("float", 0.35, 0.01, 1.0, "Share of the features at each split."),
        "learning_rate": Hyperparameter(
            "float", 2.0, 0.1, 10.0, "How close probabilities come to 1 where the trees agree."
        ),
    },
    "logistic-regression": {
        "C": Hyperparameter(
            "float", 1.0, 1e-6, 1e6, "Inverse of regularisation strength: smaller keeps weights near 0."
        ),
        "max_iter": Hyperparameter("integer", 1000, 1, 100_000, "Maximum steps of the optimiser."),
    },
}


def check_parameters(estimator: Estimator, given: Mapping[str, Any]) -> dict[str, int | float]:
    """Return the given parameters, each converted to its kind: an integer may be given as a whole float.

    `make_model` adds the defaults of the others.

    Raises:
        ValueError: a parameter is unknown, not a number, or out of bounds; the message names it.
    """
    known = PARAMETERS[estimator]
    checked: dict[str, int | float] = {}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{estimator} has no parameter {str(name)[:100]!r}; it has {', '.join(known)}")
        parameter = known[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not _fits(value, parameter):
            kind = "a whole number" if parameter.kind == "integer" else "a number"
            raise ValueError(
                f"{name} of {estimator} must be {kind} from {parameter.minimum:,g} to {parameter.maximum:,g},"
                f" not {str(value)[:100]}"
            )
        checked[name] = int(value) if parameter.kind == "integer" else float(value)
    return checked


def make_model(estimator: Estimator, parameters: Mapping[str, Any], seed: int) -> TrainableClassifier:
    """Return a model to train, with these parameters and the defaults of all others.

    Raises:
        ValueError: as `check_parameters`.
    """
    defaults = {name: parameter.default for name, parameter in PARAMETERS[estimator].items()}
    arguments: dict[str, Any] = defaults | check_parameters(estimator, parameters)
    if estimator == "logistic-regression":
        return LogisticRegression(**arguments)
    if estimator == "random-forest":
        return RandomForest(**arguments, random_state=seed)
    return IrisModel(**arguments, random_state=seed)


def _fits(value: int | float, parameter: Hyperparameter) -> bool:
    if not parameter.minimum <= value <= parameter.maximum:
        return False
    return parameter.kind == "float" or math.floor(value) == value
