"""Read and check a table before anything is trained from it, in a process under limits."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from model_training.service.configuration_file import write_configuration
from model_training.service.problems import Problem, sentence
from model_training.service.settings import Settings
from model_training.service.training_process import Event, TrainingProcess

# At the same time; each reads a whole table into memory.
_MOST_INSPECTIONS = 2
_slots = threading.BoundedSemaphore(_MOST_INSPECTIONS)


def inspect(settings: Settings, folder: Path, table: str, target: str | None) -> dict[str, Any]:
    """What the training's command says with --check of a built-in table, or of the file of that path.

    Raises:
        Problem: 422 the table cannot be used, 503 too many at once.
    """
    if not _slots.acquire(blocking=False):
        detail = "As many tables as are checked at once are under way; try again in a moment."
        raise Problem(503, detail, {"Retry-After": "3"})
    try:
        return _inspect(settings, folder, table, target)
    finally:
        _slots.release()


def _inspect(settings: Settings, folder: Path, table: str, target: str | None) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "training.toml"
    write_configuration(path, {"data": table, "target": target})
    found: list[Event] = []
    process = TrainingProcess(
        ["--config", str(path), "--check", "--events"], settings.inspect_seconds, settings.job_memory_mb
    )
    status = process.run(found.append)
    for event in found:
        if event["event"] == "checked":
            return event
    said = [str(event.get("text", "")) for event in found if event["event"] == "error"]
    reason = said[0].replace(f"{folder}/", "") if said else process.why_it_failed(status)
    raise Problem(422, process.no_memory if process.is_for_want_of_memory(reason) else sentence(reason), field="file")


def target_of(fields: object) -> str | None:
    """The column that a request names as target; None if it names none.

    Raises:
        Problem: 422 it is no text.
    """
    target = fields.get("target") if isinstance(fields, dict) else None
    if target is not None and not isinstance(target, str):
        raise Problem(422, f"target must be a column's name, not {json.dumps(target)[:50]}.", field="target")
    return target or None
