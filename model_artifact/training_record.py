"""How the last training ended, kept in the store for whoever watches over the model's freshness."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import msgspec

from model_artifact.card import Version
from model_artifact.durable_file import write_file

Outcome = Literal["promoted", "rejected", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
RECORD_FILE = "last_training.json"
_MAX_BYTES = 65_536


class TrainingRecord(msgspec.Struct, frozen=True):
    """The end of a training: finished_at in ISO 8601, UTC; version is None where none was written."""

    finished_at: str
    outcome: Outcome
    version: Version | None = None
    reason: str = ""


def write_record(store: Path, record: TrainingRecord) -> None:
    """Replace the record in the folder of a store.

    Raises:
        OSError: it cannot be written.
    """
    store.mkdir(parents=True, exist_ok=True)
    write_file(store / RECORD_FILE, msgspec.json.encode(record) + b"\n")


def read_record(store: Path) -> TrainingRecord | None:
    """The record in the folder of a store; None where there is none, or none that can be read."""
    try:
        with (store / RECORD_FILE).open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=TrainingRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
