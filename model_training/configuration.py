"""The settings of a training, from a TOML file, options or both.

data = "table.csv"          # iris, digits, or a CSV or Parquet file (a relative path starts at this file)
name = "flowers"            # optional: the model's name (default: the table's)
target = "species"          # the column to predict; built-in tables have a default
ignore = ["row_number"]     # optional: columns to ignore
units = "units.toml"        # optional: a line `column = "unit"` for each feature with a unit
test_size = 0.2
seed = 42
folds = 5                   # of the cross-validation; 0: none (default: 5, and 0 above 100,000 rows)
estimator = "xgboost"       # or random-forest, logistic-regression
search = 0                  # trials of the hyperparameter search; 0: none

[parameters]                # of the estimator; the others have their defaults
max_depth = 4

[gate]
min_accuracy = 0.9
max_log_loss = 0.5
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec

from model_artifact.card import Estimator, Name

_PATHS = ("data", "units")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "|": "or",
    "<": "below",
    "<=": "of at most",
    ">": "above",
    ">=": "of at least",
    "got": "not",
}


class ConfigurationError(ValueError):
    """A setting is invalid; the message is one sentence that names it."""


class GateRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a new model must reach to become champion.

    It must always beat the baselines: the accuracy of the majority class, and the log loss of the class shares. On the
    same held-out rows, it may be worse than the champion by a tolerance. max_worse_share is the maximum share of
    bootstrap resamples where it is worse by more than the tolerance.
    """

    min_accuracy: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    max_log_loss: Annotated[float, msgspec.Meta(gt=0)] | None = None
    accuracy_tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    log_loss_tolerance: Annotated[float, msgspec.Meta(ge=0)] = 0.05
    max_worse_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    resamples: Annotated[int, msgspec.Meta(ge=100, le=100_000)] = 2000


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training; `data` is the name of a built-in table or the path of a file, `target` its column of classes.

    folds None: the number of rows decides.
    """

    data: Annotated[str, msgspec.Meta(min_length=1)] = "iris"
    name: Name | None = None
    target: str | None = None
    ignore: list[str] = []
    units: str | None = None
    test_size: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 42
    folds: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    estimator: Estimator = "xgboost"
    parameters: dict[str, int | float] = {}
    search: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    gate: GateRules = GateRules()


def read_settings(path: Path, tables: Container[str]) -> dict[str, Any]:
    """Return the settings of a TOML file; relative paths start at the file, and the names in `tables` are not paths.

    Raises:
        ConfigurationError: the file cannot be read or is not TOML.
    """
    settings = read_toml(path)
    for name in _PATHS:
        value = settings.get(name)
        if isinstance(value, str) and value and not (name == "data" and value in tables):
            settings[name] = str(path.absolute().parent / value)
    return settings


def read_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file.

    Raises:
        ConfigurationError: the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def make_configuration(settings: Mapping[str, Any]) -> Configuration:
    """Return the configuration with these settings, and defaults for the others.

    Raises:
        ConfigurationError: a setting is unknown, or its value has the wrong type or is out of range.
    """
    try:
        configuration = msgspec.convert(dict(settings), Configuration)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_sentence(str(error))) from None
    if configuration.folds == 1:
        raise ConfigurationError("folds must be 0 (no cross-validation) or at least 2")
    return configuration


def _sentence(message: str) -> str:
    """Return msgspec's message as a sentence that starts with the name of the setting."""
    what, _, where = message.replace("`", "").partition(" - at $.")
    unknown = re.fullmatch("Object contains unknown field (.*)", what)
    if unknown:
        known = GateRules if where == "gate" else Configuration
        return f"there is no setting {unknown[1]}; there are {', '.join(known.__struct_fields__)}"
    if what.startswith("Invalid enum value"):
        return f"{where}: {what.split(' ', 3)[-1]} is unknown; choose one of {', '.join(get_args(Estimator))}"
    name = where.replace("[...]", " (a value)")
    words = what.removeprefix("Expected ").replace(",", " ,").split()
    return f"{name} must be {' '.join(_WORDS.get(word, word) for word in words)}".replace(" ,", ",")
