"""Check a request's configuration, and write it as the TOML file that `model_training.train` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from http_service.problems import Problem, sentence
from model_training.configuration import make_configuration
from model_training.estimators.parameters import check_parameters


def check_configuration(given: object) -> dict[str, Any]:
    """Return the configuration completed with defaults, without `data`.

    Raises:
        Problem: 422 it is invalid; the sentence names the field.
    """
    if not isinstance(given, dict):
        raise Problem(422, 'config must be an object, such as {"estimator": "xgboost"}.', field="config")
    if given.get("units") is not None:
        raise Problem(
            422, "config.units names a file, which only the command line can read; leave it out.", field="config.units"
        )
    try:
        configuration = make_configuration({**given, "data": "table"})
        check_parameters(configuration.estimator, configuration.parameters)
    except ValueError as error:
        raise Problem(422, sentence(f"config cannot be used: {error}"), field="config") from None
    values: dict[str, Any] = msgspec.to_builtins(configuration)
    del values["data"]
    return values


def write_configuration(path: Path, values: Mapping[str, Any]) -> None:
    """Write the values as TOML; skip None, and write a mapping as a table.

    Raises:
        OSError: the file cannot be written.
    """
    tables = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    lines = [_line(name, value) for name, value in values.items() if name not in tables and value is not None]
    for name, table in tables.items():
        lines += [f"[{name}]", *(_line(key, value) for key, value in table.items() if value is not None)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(name: str, value: object) -> str:
    return f"{_text(name)} = {_text(value)}"


def _text(value: object) -> str:
    # A JSON string is a valid TOML string, except that TOML does not allow this character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
