"""Train a model, judge it on held-out rows, write it into the store and make it champion if it is good enough.

python -m model_training.train --help
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar, get_args

import msgspec

from model_artifact.card import Estimator, ModelCard
from model_artifact.errors import ArtifactError, RegistryError, SigningError
from model_artifact.signature import read_private_key, read_public_keys
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord
from model_training.configuration import Configuration, ConfigurationError, make_configuration, read_settings
from model_training.data.datasets import DATASETS, DataError
from model_training.data.table_check import check_table
from model_training.estimators.parameters import PARAMETERS, check_parameters
from model_training.registry.registry import Registry, open_registry
from model_training.registry.store_registry import StoreRegistry
from model_training.reporter import EventReporter, Reporter, TextReporter
from model_training.training import Keys, run_training

PROMOTED, FAILED, USAGE, REJECTED = 0, 1, 2, 3
# The parameters that have an option of their own; --parameter takes any.
_OWN_OPTIONS = ("n_estimators", "max_depth", "learning_rate", "subsample", "colsample_bytree")
_Number = TypeVar("_Number", int, float)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(argv)
    reporter: Reporter = EventReporter(sys.stdout) if options.events else TextReporter()
    # What a library prints must not stand between the events.
    with redirect_stdout(sys.stderr if options.events else sys.stdout):
        try:
            configuration = _configuration(options)
        except ConfigurationError as error:
            reporter.error(str(error))
            return USAGE
        try:
            command = _check if options.check else _train
            return command(configuration, options, reporter)
        except BrokenPipeError:
            # Whoever was told has gone, and Python would say so once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
            return FAILED


def _check(configuration: Configuration, options: argparse.Namespace, reporter: Reporter) -> int:
    try:
        checked = check_table(configuration)
    except (Exception, KeyboardInterrupt) as error:
        reporter.error(_reason(error, options.store))
        return FAILED
    reporter.end(checked.event(), checked.text())
    return FAILED if checked.errors else PROMOTED


def _train(configuration: Configuration, options: argparse.Namespace, reporter: Reporter) -> int:
    store = ArtifactStore(options.store)
    try:
        keys = _keys(options)
        registry = open_registry(store, keys.public, os.environ)
    except (SigningError, RegistryError) as error:
        return _failed(StoreRegistry(store), reporter, str(error))
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        card = run_training(configuration, store, registry, keys, reporter, options.force)
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        return _failed(registry, reporter, _reason(error, options.store))
    finally:
        signal.signal(signal.SIGTERM, before)
    gate = card.gate
    promoted = gate is None or gate.passed or gate.forced
    outcome = "promoted" if promoted else "rejected"
    _record(registry, reporter, outcome, card.model_version, " ".join(gate.reasons) if gate else "")
    event = {"event": "result", "outcome": outcome, "version": card.model_version, "card": msgspec.to_builtins(card)}
    reporter.end(event, report(card, Path(options.store)) + (", signed" if keys.sign else ""))
    return PROMOTED if promoted else REJECTED


def report(card: ModelCard, store: Path) -> str:
    """What a person wants to know after training, in a few lines."""
    metrics = card.metrics
    width = max(len(name) for name in card.classes)
    matrix = "\n".join(
        f"  {name:>{width}} " + " ".join(f"{count:5d}" for count in row)
        for name, row in zip(card.classes, metrics.confusion_matrix, strict=True)
    )
    folds = metrics.cross_validation
    folds_line = (
        f"{folds.folds}-fold accuracy {folds.accuracy_mean:.4f} +/- {folds.accuracy_std:.4f}\n" if folds else ""
    )
    return (
        f"{card.model_name}: {card.data.train_rows} rows to train, {card.data.test_rows} held out\n"
        f"accuracy {metrics.accuracy:.4f}   macro F1 {metrics.macro_f1:.4f}   log loss {metrics.log_loss:.4f}\n"
        f"{folds_line}"
        f"confusion matrix (row: true class, column: predicted, in the same order)\n{matrix}\n"
        f"answers come from {_predictor(card)}\n"
        f"{_verdict(card)}"
        f"version {card.model_version} is {_place(card)} {store}"
    )


def _predictor(card: ModelCard) -> str:
    if card.predictor == "decision table":
        return f"a decision table of {card.table_cells} cells, proved to equal XGBoost"
    return "XGBoost" if card.predictor == "xgboost" else "the coefficients of a linear model"


def _verdict(card: ModelCard) -> str:
    """What the gate says, a line each."""
    gate = card.gate
    if gate is None:
        return ""
    lines = [
        f"{comparison.metric.replace('_', ' ')} {comparison.challenger:.4f}, champion {comparison.champion:.4f}:"
        f" gain {comparison.gain:+.4f}, 95% from {comparison.low:+.4f} to {comparison.high:+.4f}"
        for comparison in gate.comparisons
    ]
    verdict = "passed" if gate.passed else "forced past" if gate.forced else "rejected by"
    return "".join(f"{line}\n" for line in [*lines, f"{verdict} the gate. {' '.join(gate.reasons)}".strip()])


def _place(card: ModelCard) -> str:
    rejected = card.gate is not None and not card.gate.passed and not card.gate.forced
    return "a rejected challenger, not current, in" if rejected else "current in"


def _configuration(options: argparse.Namespace) -> Configuration:
    """What the file says, and what the options say instead.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    settings = read_settings(Path(options.config), DATASETS) if options.config else {}
    given = vars(options)
    for name in Configuration.__struct_fields__:
        if name not in ("parameters", "gate") and given[name] is not None:
            settings[name] = given[name]
    gate = {name: given[name] for name in ("min_accuracy", "max_log_loss") if given[name] is not None}
    parameters = {name: given[name] for name in _OWN_OPTIONS if given[name] is not None} | dict(options.parameter)
    for name, extra in (("gate", gate), ("parameters", parameters)):
        # What is no table is told by `make_configuration`.
        if extra and isinstance(settings.get(name, {}), dict):
            settings[name] = {**settings.get(name, {}), **extra}
    configuration = make_configuration(settings)
    try:
        checked = check_parameters(configuration.estimator, configuration.parameters)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return msgspec.structs.replace(configuration, parameters=checked)


def _keys(options: argparse.Namespace) -> Keys:
    """The keys that the options name.

    Raises:
        SigningError: one cannot be read, or what is signed with the one would not pass the others.
    """
    sign = read_private_key(Path(options.sign_key)) if options.sign_key else None
    public = read_public_keys(options.public_key)
    if public and sign is None:
        raise SigningError(
            "there is a public key, so a version that is not signed would be refused; train with --sign-key"
            " (MODEL_SIGN_KEY), or without --public-key (MODEL_PUBLIC_KEY)."
        )
    if sign and public and sign.public_key() not in public:
        raise SigningError(
            "what the private key signs would be refused: its public key is not among those that are set."
        )
    return Keys(sign, public)


def _failed(registry: Registry, reporter: Reporter, reason: str) -> int:
    reporter.error(reason)
    _record(registry, reporter, "failed", None, reason)
    return FAILED


def _reason(error: BaseException, store: str) -> str:
    """One sentence, whatever went wrong."""
    if isinstance(error, KeyboardInterrupt):
        return "The training was stopped before its end."
    if isinstance(error, DataError | ArtifactError | RegistryError | ConfigurationError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The memory does not suffice for this table; give more, or take fewer rows or columns."
    if isinstance(error, OSError):
        return f"cannot write to {store}: {error.strerror}; choose another --store"
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return first if isinstance(error, ValueError) and first else f"The training failed: {type(error).__name__} {first}"


def _record(registry: Registry, reporter: Reporter, outcome: Any, version: str | None, reason: str) -> None:
    finished_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        registry.record(TrainingRecord(finished_at, outcome, version, reason))
    except RegistryError as error:
        # A store that cannot be written has been told already.
        if outcome != "failed":
            reporter.warning(f"The outcome could not be recorded: {error}")


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tabular train",
        description="Train a classifier, judge it on held-out rows, write it into the store, and make it champion"
        " unless the gate rejects it.",
        epilog="The status is 0 if it became champion, 3 if it was rejected, 1 if the training failed and 2 if an"
        " option or a setting cannot be used. An option wins over the setting of the same name in the file of"
        " --config.",
    )
    defaults = Configuration()
    add = parser.add_argument
    add("--config", metavar="FILE", help="TOML file with the settings of a training (default: none)")
    add("--data", help=f"{', '.join(DATASETS)}, or a CSV or Parquet file (default: {defaults.data})")
    add("--target", metavar="COLUMN", help="the column to predict (default: that of the built-in table)")
    add("--ignore", metavar="COLUMN", action="append", help="a column to leave out; repeatable (default: none)")
    add("--name", help="the model's name (default: the table's)")
    add("--units", metavar="FILE", help='TOML file with a line `column = "unit"` each (default: none)')
    add("--test-size", metavar="SHARE", type=_float, help=f"share of rows held out (default: {defaults.test_size})")
    add("--seed", type=_integer, help=f"seed of the split, the folds and the model (default: {defaults.seed})")
    add(
        "--folds",
        type=_integer,
        help="folds of the cross-validation, 0 for none (default: 5 up to 100,000 rows, else 0)",
    )
    add("--estimator", choices=get_args(Estimator), help=f"what to train (default: {defaults.estimator})")
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
        help="any parameter of the estimator; repeatable (default: its own)",
    )
    add("--search", metavar="N", type=_integer, help="trials of a search for better parameters (default: 0)")
    add("--min-accuracy", metavar="SHARE", type=_float, help="lowest accuracy for a champion (default: 0)")
    add("--max-log-loss", metavar="NUMBER", type=_float, help="highest log loss for a champion (default: any)")
    add("--force", action="store_true", help="make it champion whatever the gate says; the card records that")
    add("--check", action="store_true", help="only read and check the table")
    add("--events", action="store_true", help="write JSON lines for a program instead of text")
    _add_store_options(parser)
    return parser


def _add_store_options(parser: argparse.ArgumentParser) -> None:
    store = os.environ.get("MODEL_STORE") or "artifacts"
    sign_key = os.environ.get("MODEL_SIGN_KEY") or None
    parser.add_argument(
        "--store",
        default=store,
        help=f"folder of the artifact store; the environment's MODEL_STORE, if set (default: {store})",
    )
    parser.add_argument(
        "--sign-key",
        metavar="FILE",
        default=sign_key,
        help="private key to sign the version with; the environment's MODEL_SIGN_KEY, if set",
    )
    parser.add_argument(
        "--public-key",
        metavar="KEY",
        default=os.environ.get("MODEL_PUBLIC_KEY", ""),
        help="trust no champion that its owner did not sign: a PEM file or the key itself, several parted by commas;"
        " the environment's MODEL_PUBLIC_KEY, if set",
    )


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


if __name__ == "__main__":
    sys.exit(main())
