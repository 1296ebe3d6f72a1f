"""Read and check a table before anything is trained from it, in a process under limits."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from http_service.problems import Problem, sentence
from http_service.slots import occupied
from training_service.jobs.configuration_file import write_configuration
from training_service.jobs.training_process import Event, TrainingProcess
from training_service.settings import TrainingServiceSettings
from training_service.uploads import parse_json

# Each reads a whole table into memory.
_MAX_INSPECTIONS = 2
_slots = threading.BoundedSemaphore(_MAX_INSPECTIONS)


def inspect(
    settings: TrainingServiceSettings, folder: Path, table: str, target: str | None, ignore: list[str]
) -> dict[str, Any]:
    """Return what `model_training.train --check` reports about a built-in table or the file at that path.

    Raises:
        Problem: 422 the table cannot be used, 503 too many checks are running.
    """
    with occupied(_slots, f"The service is checking {_MAX_INSPECTIONS} tables already; try again later.", 3):
        return _inspect(settings, folder, {"data": table, "target": target, "ignore": ignore})


def _inspect(settings: TrainingServiceSettings, folder: Path, configuration: dict[str, Any]) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "training.toml"
    write_configuration(path, configuration)
    found: list[Event] = []
    process = TrainingProcess(
        ["--config", str(path), "--check", "--events"],
        settings.inspect_seconds,
        settings.inspect_memory_mb,
        memory_setting="INSPECT_MEMORY_MB",
    )
    status = process.run(found.append)
    for event in found:
        if event["event"] == "checked":
            return event
    errors = [str(event.get("text", "")) for event in found if event["event"] == "error"]
    reason = errors[0].replace(f"{folder}/", "") if errors else process.failure_reason(status)
    raise Problem(422, process.out_of_memory if process.is_out_of_memory(reason) else sentence(reason), field="file")


def target_of(fields: Mapping[str, Any]) -> str | None:
    """Return the target column that a request names, if any.

    Raises:
        Problem: 422 target is not text.
    """
    target = fields.get("target")
    if target is not None and not isinstance(target, str):
        raise Problem(422, f"target must be a column's name, not {json.dumps(target)[:50]}.", field="target")
    return target or None


def ignore_of(fields: Mapping[str, Any]) -> list[str]:
    """Return the columns to ignore; in a form they are JSON.

    Raises:
        Problem: 422 ignore is not a list of names.
    """
    ignore = fields.get("ignore")
    if isinstance(ignore, str) and ignore:
        ignore = parse_json(ignore, "ignore")
    if ignore and not (isinstance(ignore, list) and all(isinstance(name, str) for name in ignore)):
        raise Problem(422, 'ignore must be a list of columns, such as ["row_number"].', field="ignore")
    return list(ignore or [])
