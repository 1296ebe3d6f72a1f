"""What a training is asked to do: one structure, from a TOML file, options or both.

data = "table.csv"          # iris, digits, or a CSV or Parquet file (beside this file, if it is no absolute path)
target = "species"          # the column to predict; built-in tables know theirs
units = "units.toml"        # optional: a line `column = "unit"` for each feature that has one
test_size = 0.2
seed = 42
folds = 5                   # of the cross-validation; 0: none
estimator = "xgboost"       # or random-forest, logistic-regression
search = 0                  # trials of the hyperparameter search; 0: none

[parameters]                # of the estimator; what is not named has its default
max_depth = 4

[gate]
min_accuracy = 0.9
max_log_loss = 0.5
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from model_training.schema import Estimator

Positive = Annotated[int, msgspec.Meta(ge=1)]


class GateRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a new model has to reach to become champion.

    Whatever is set here, it has to beat a guess: the accuracy of always naming the commonest class, and the log loss of
    the classes' shares. Tolerances are how much worse than the champion it may be on the same held-out rows;
    max_worse_share is the largest share of bootstrap resamples in which it may be worse by more than that.
    """

    min_accuracy: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    max_log_loss: Annotated[float, msgspec.Meta(gt=0)] | None = None
    accuracy_tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    log_loss_tolerance: Annotated[float, msgspec.Meta(ge=0)] = 0.05
    max_worse_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    resamples: Annotated[int, msgspec.Meta(ge=100, le=100_000)] = 2000


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training; `data` is a built-in table's name or a file's path, whose `target` column holds the classes."""

    data: Annotated[str, msgspec.Meta(min_length=1)] = "iris"
    target: str | None = None
    units: str | None = None
    test_size: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 42
    folds: Annotated[int, msgspec.Meta(ge=0, le=100)] = 5
    estimator: Estimator = "xgboost"
    parameters: dict[str, int | float] = {}
    search: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    gate: GateRules = GateRules()
