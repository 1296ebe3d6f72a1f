"""The estimators by name, and what each can be told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from model_artifact.card import Estimator
from model_artifact.predictors.classifier import Classifier
from model_training.estimators.logistic_regression import LogisticRegression
from model_training.estimators.random_forest import RandomForest
from model_training.model import IrisModel

ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)


class Parameter(msgspec.Struct, frozen=True):
    """A hyperparameter: its kind, default and bounds, both within, and a sentence that says what it does."""

    kind: Literal["integer", "float"]
    default: int | float
    minimum: int | float
    maximum: int | float
    help: str


_ROWS = Parameter("float", 0.8, 0.01, 1.0, "Share of the rows that each tree sees.")

PARAMETERS: dict[Estimator, dict[str, Parameter]] = {
    "xgboost": {
        "n_estimators": Parameter("integer", 100, 1, 10_000, "Rounds of boosting, each with one tree a class."),
        "max_depth": Parameter("integer", 4, 1, 32, "Depth of a tree."),
        "learning_rate": Parameter("float", 0.1, 0.0001, 1.0, "Shrinkage of each round."),
        "subsample": _ROWS,
        "colsample_bytree": Parameter("float", 0.8, 0.01, 1.0, "Share of the features that each tree sees."),
    },
    "random-forest": {
        "n_estimators": Parameter("integer", 100, 1, 10_000, "Trees of each class."),
        "max_depth": Parameter("integer", 12, 1, 32, "Depth of a tree."),
        "subsample": _ROWS,
        "colsample_bynode": Parameter("float", 0.35, 0.01, 1.0, "Share of the features that each split chooses from."),
        "learning_rate": Parameter("float", 2.0, 0.1, 10.0, "How sure the answers are where the trees agree."),
    },
    "logistic-regression": {
        "C": Parameter("float", 1.0, 1e-6, 1e6, "Freedom of the weights: the smaller, the closer they are kept to 0."),
        "max_iter": Parameter("integer", 1000, 1, 100_000, "Steps of the optimiser at most."),
    },
}


def check_parameters(estimator: Estimator, given: Mapping[str, Any]) -> dict[str, int | float]:
    """The given parameters, each in its kind: a whole float will do for an integer.

    Those that are not given are not added; `make_model` has their defaults.

    Raises:
        ValueError: one is unknown, no number, or out of its bounds; a sentence that names it.
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


def make_model(estimator: Estimator, parameters: Mapping[str, Any], seed: int) -> Classifier:
    """A model to train, with these parameters and the defaults of all others.

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


def _fits(value: int | float, parameter: Parameter) -> bool:
    if not parameter.minimum <= value <= parameter.maximum:
        return False
    return parameter.kind == "float" or math.floor(value) == value
