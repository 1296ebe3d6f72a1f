"""What a training is asked to do: one structure, from a TOML file, options or both.

data = "table.csv"          # iris, digits, or a CSV or Parquet file (beside this file, if it is no absolute path)
name = "flowers"            # optional: the model's; the file's without its ending, if not given
target = "species"          # the column to predict; built-in tables know theirs
ignore = ["row_number"]     # optional: columns to leave out
units = "units.toml"        # optional: a line `column = "unit"` for each feature that has one
test_size = 0.2
seed = 42
folds = 5                   # of the cross-validation; 0: none; not given: 5, and none above 100,000 rows
estimator = "xgboost"       # or random-forest, logistic-regression
search = 0                  # trials of the hyperparameter search; 0: none

[parameters]                # of the estimator; what is not named has its default
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
    """A setting cannot be used; the message is one sentence that names it."""


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
    """A training; `data` is a built-in table's name or a file's path, whose `target` column holds the classes.

    folds is None where nobody chose: then a table decides by its size.
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
    """The settings of a TOML file; paths that are relative to it are made absolute, names in `tables` are none.

    Raises:
        ConfigurationError: it cannot be read, or is no TOML.
    """
    settings = read_toml(path)
    for name in _PATHS:
        value = settings.get(name)
        if isinstance(value, str) and value and not (name == "data" and value in tables):
            settings[name] = str(path.absolute().parent / value)
    return settings


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        ConfigurationError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from error


def make_configuration(settings: Mapping[str, Any]) -> Configuration:
    """The configuration with these settings and defaults for the others.

    Raises:
        ConfigurationError: a setting is unknown, or its value is of another type or out of bounds.
    """
    try:
        configuration = msgspec.convert(dict(settings), Configuration)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_sentence(str(error))) from None
    if configuration.folds == 1:
        raise ConfigurationError("folds must be 0 (no cross-validation) or 2 and more")
    return configuration


def _sentence(message: str) -> str:
    """msgspec's message with the setting's name in front."""
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
