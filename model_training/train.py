"""Train a model, evaluate it on held-out rows, write it into the store, and promote it if it passes the gate.

tabular train --help
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from model_artifact.errors import ArtifactError, RegistryError, SigningError
from model_artifact.store import ArtifactStore
from model_artifact.training_record import Outcome, TrainingRecord
from model_training.configuration import Configuration, ConfigurationError
from model_training.data.datasets import DataError
from model_training.data.table_check import check_table
from model_training.options import make_parser, read_configuration, read_keys
from model_training.registry.registry import Registry, open_registry
from model_training.registry.store_registry import StoreRegistry
from model_training.report import report
from model_training.reporter import EventReporter, Reporter, TextReporter
from model_training.training import run_training

PROMOTED, FAILED, USAGE, REJECTED = 0, 1, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = make_parser().parse_args(argv)
    reporter: Reporter = EventReporter(sys.stdout) if options.events else TextReporter()
    # Libraries print, and stdout is for the events alone.
    with redirect_stdout(sys.stderr if options.events else sys.stdout):
        try:
            configuration = read_configuration(options)
        except ConfigurationError as error:
            reporter.error(str(error))
            return USAGE
        try:
            command = _check if options.check else _train
            return command(configuration, options, reporter)
        except BrokenPipeError:
            # The reader of stdout has closed it, and Python would report the same error again when it exits.
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
        keys = read_keys(options)
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
    outcome: Outcome = "promoted" if card.is_promoted else "rejected"
    _record(registry, reporter, outcome, card.model_version, " ".join(card.gate.reasons) if card.gate else "")
    event = {"event": "result", "outcome": outcome, "version": card.model_version, "card": msgspec.to_builtins(card)}
    reporter.end(event, report(card, Path(options.store)) + (", signed" if keys.sign else ""))
    return PROMOTED if card.is_promoted else REJECTED


def _failed(registry: Registry, reporter: Reporter, reason: str) -> int:
    reporter.error(reason)
    _record(registry, reporter, "failed", None, reason)
    return FAILED


def _reason(error: BaseException, store: str) -> str:
    """Return one sentence for any error."""
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


def _record(registry: Registry, reporter: Reporter, outcome: Outcome, version: str | None, reason: str) -> None:
    finished_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        registry.record(TrainingRecord(finished_at, outcome, version, reason))
    except RegistryError as error:
        # A failed training reports its own reason only.
        if outcome != "failed":
            reporter.warning(f"The outcome could not be recorded: {error}")


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
