"""The options of the command `tabular train`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, get_args

import msgspec

from model_artifact.card import Estimator
from model_artifact.errors import SigningError
from model_artifact.signature import read_private_key, read_public_keys
from model_training.configuration import Configuration, ConfigurationError, make_configuration, read_settings
from model_training.data.datasets import DATASETS
from model_training.estimators.parameters import PARAMETERS, check_parameters
from model_training.training import Keys

# The parameters that have an option of their own; --parameter takes any.
_OWN_OPTIONS = ("n_estimators", "max_depth", "learning_rate", "subsample", "colsample_bytree")
_Number = TypeVar("_Number", int, float)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; its defaults of options that are settings as well are None, which means not given."""
    parser = argparse.ArgumentParser(
        prog="tabular train",
        description="Train a classifier, evaluate it on held-out rows, write it into the store, and promote it to"
        " champion if it passes the gate.",
        epilog="The exit status is 0 if the model was promoted, 3 if the gate rejected it, 1 if the training failed and"
        " 2 if an option or a setting is invalid. An option overrides the setting of the same name in the file of"
        " --config.",
    )
    defaults = Configuration()
    add = parser.add_argument
    add("--config", metavar="FILE", help="TOML file with the settings of the training (default: none)")
    add("--data", help=f"{', '.join(DATASETS)}, or a CSV or Parquet file (default: {defaults.data})")
    add("--target", metavar="COLUMN", help="the column to predict (default: the target of the built-in table)")
    add("--ignore", metavar="COLUMN", action="append", help="a column to ignore; repeatable (default: none)")
    add("--name", help="the model's name (default: the name of the table)")
    add("--units", metavar="FILE", help='TOML file with a line `column = "unit"` each (default: none)')
    add("--test-size", metavar="SHARE", type=_float, help=f"share of held-out rows (default: {defaults.test_size})")
    add("--seed", type=_integer, help=f"random seed of the split, the folds and the model (default: {defaults.seed})")
    add("--folds", type=_integer, help="folds of the cross-validation; 0: none (default: 5 up to 100,000 rows, else 0)")
    add("--estimator", choices=get_args(Estimator), help=f"type of model (default: {defaults.estimator})")
    for name in _OWN_OPTIONS:
        parameter = PARAMETERS["xgboost"][name]
        kind = _integer if parameter.kind == "integer" else _float
        text = parameter.help.rstrip(".")
        add(f"--{name.replace('_', '-')}", type=kind, help=f"{text} (default: {parameter.default} for xgboost)")
    add(
        "--parameter",
        metavar="NAME=VALUE",
        type=_parameter,
        action="append",
        default=[],
        help="any parameter of the estimator; repeatable (default: its default)",
    )
    add("--search", metavar="N", type=_integer, help="trials of the hyperparameter search (default: 0)")
    add("--min-accuracy", metavar="SHARE", type=_float, help="minimum accuracy to pass the gate (default: 0)")
    add("--max-log-loss", metavar="NUMBER", type=_float, help="maximum log loss to pass the gate (default: any)")
    add("--force", action="store_true", help="promote the model even if the gate rejects it; the card records that")
    add("--check", action="store_true", help="check the table without training")
    add("--events", action="store_true", help="write JSON lines for programs instead of text")
    store = os.environ.get("MODEL_STORE") or "artifacts"
    add("--store", default=store, help=f"folder of the artifact store; MODEL_STORE, if set (default: {store})")
    sign_key = os.environ.get("MODEL_SIGN_KEY") or None
    add(
        "--sign-key",
        metavar="FILE",
        default=sign_key,
        help="private key that signs the version; MODEL_SIGN_KEY, if set",
    )
    add(
        "--public-key",
        metavar="KEY",
        default=os.environ.get("MODEL_PUBLIC_KEY", ""),
        help="reject a champion that this key did not sign: a PEM file or the key itself, several separated by commas;"
        " MODEL_PUBLIC_KEY, if set",
    )
    return parser


def read_configuration(options: argparse.Namespace) -> Configuration:
    """Return the settings of the file, overridden by the options.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    settings = read_settings(Path(options.config), DATASETS) if options.config else {}
    given = vars(options)
    for name in Configuration.__struct_fields__:
        if name not in ("parameters", "gate") and given[name] is not None:
            settings[name] = given[name]
    gate = {name: given[name] for name in ("min_accuracy", "max_log_loss") if given[name] is not None}
    parameters = {name: given[name] for name in _OWN_OPTIONS if given[name] is not None} | dict(options.parameter)
    for name, extra in (("gate", gate), ("parameters", parameters)):
        # `make_configuration` reports a setting that is not a table.
        if extra and isinstance(settings.get(name, {}), dict):
            settings[name] = {**settings.get(name, {}), **extra}
    configuration = make_configuration(settings)
    try:
        checked = check_parameters(configuration.estimator, configuration.parameters)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return msgspec.structs.replace(configuration, parameters=checked)


def read_keys(options: argparse.Namespace) -> Keys:
    """Return the keys that the options name.

    Raises:
        SigningError: a key cannot be read, or the public keys would reject the new version.
    """
    sign = read_private_key(Path(options.sign_key)) if options.sign_key else None
    public = read_public_keys(options.public_key)
    if public and sign is None:
        raise SigningError(
            "a public key is set, so an unsigned version would be rejected; train with --sign-key (MODEL_SIGN_KEY),"
            " or without --public-key (MODEL_PUBLIC_KEY)."
        )
    if sign and public and sign.public_key() not in public:
        raise SigningError(
            "a version signed with this private key would be rejected: its public key is not among those that are set."
        )
    return Keys(sign, public)


def _number(kind: Callable[[str], _Number], text: str) -> _Number:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a {'whole ' * (kind is int)}number") from None


def _integer(text: str) -> int:
    return _number(int, text)


def _float(text: str) -> float:
    return _number(float, text)


def _parameter(text: str) -> tuple[str, int | float]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    with suppress(ValueError):
        return name.strip(), int(value)
    return name.strip(), _float(value)
