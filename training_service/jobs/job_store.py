"""Jobs and their logs in SQLite: configuration, progress and result."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

State = Literal["queued", "running", "promoted", "rejected", "failed", "cancelled", "interrupted"]

# Kept jobs, and kept lines of one job's log; the oldest are deleted.
MAX_JOBS = 200
MAX_LINES = 2000
MAX_LINE_CHARACTERS = 2000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    data TEXT,
    file_name TEXT,
    config TEXT NOT NULL,
    force INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    stage TEXT,
    share REAL NOT NULL DEFAULT 0,
    text TEXT NOT NULL DEFAULT '',
    version TEXT,
    reason TEXT,
    card TEXT,
    log_lines INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
CREATE TABLE IF NOT EXISTS lines (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (job, number)
) WITHOUT ROWID;
"""


class QueueFullError(Exception):
    """The queue has no room for another job."""


class Job(msgspec.Struct, frozen=True):
    """A requested training; times are ISO 8601 in UTC, share is the progress from 0 to 1.

    data names a built-in table, or file_name an uploaded one. log_lines counts all lines of the log, of which the last
    are kept.
    """

    id: str
    state: State
    data: str | None
    file_name: str | None
    config: dict[str, Any]
    force: bool
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    stage: str | None = None
    share: float = 0.0
    text: str = ""
    version: str | None = None
    reason: str | None = None
    card: dict[str, Any] | None = None
    log_lines: int = 0

    @property
    def has_ended(self) -> bool:
        """Return whether the job has ended."""
        return self.state not in ("queued", "running")


_COLUMNS = ", ".join(Job.__struct_fields__)
# Cards would make a list of megabytes.
_COLUMNS_OF_LIST = _COLUMNS.replace(", card,", ", NULL AS card,")
_COUNT_WAITING = "SELECT count(*) FROM jobs WHERE state = 'queued'"


def new_id() -> str:
    """Return a new job id, of 16 hexadecimal digits."""
    return secrets.token_hex(8)


class JobStore:
    """The jobs of one database; thread-safe.

    Every method raises sqlite3.Error if the database fails.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        # A second service waits up to 10 s while the first one writes.
        self._database = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("PRAGMA foreign_keys = ON")
        self._database.executescript(_SCHEMA)

    def add(self, job: Job, queue_length: int) -> None:
        """Append a job to the queue.

        Raises:
            QueueFullError: queue_length jobs are waiting already.
        """
        with self._transaction() as database:
            if database.execute(_COUNT_WAITING).fetchone()[0] >= queue_length:
                raise QueueFullError
            database.execute(
                "INSERT INTO jobs (id, state, data, file_name, config, force, created_at) VALUES (?,?,?,?,?,?,?)",
                (job.id, job.state, job.data, job.file_name, json.dumps(job.config), job.force, job.created_at),
            )
            database.execute(
                "DELETE FROM jobs WHERE state NOT IN ('queued', 'running')"
                " AND number <= (SELECT max(number) FROM jobs) - ?",
                (MAX_JOBS,),
            )

    def waiting(self) -> int:
        """Return the number of waiting jobs."""
        return int(self._execute(_COUNT_WAITING)[0][0])

    def all(self) -> list[Job]:
        """Return every job without its card, newest first."""
        rows = self._execute(f"SELECT {_COLUMNS_OF_LIST} FROM jobs ORDER BY number DESC")  # noqa: S608
        return [_job(row) for row in rows]

    def get(self, job_id: str) -> Job | None:
        """Return a job, or None if it does not exist."""
        rows = self._execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", job_id)  # noqa: S608
        return _job(rows[0]) if rows else None

    def log(self, job_id: str, after: int, last: int) -> list[str]:
        """Return the kept lines of the job's log from number `after` + 1 to `last`, counted from 1."""
        select = "SELECT text FROM lines WHERE job = ? AND number > ? AND number <= ? ORDER BY number"
        return [row["text"] for row in self._execute(select, job_id, after, last)]

    def start_next(self) -> Job | None:
        """Mark the first job of the queue as running and return it, or None if the queue is empty."""
        rows = self._execute(
            "UPDATE jobs SET state = 'running', started_at = ? WHERE number ="
            " (SELECT number FROM jobs WHERE state = 'queued' ORDER BY number LIMIT 1) RETURNING id",
            now(),
        )
        return self.get(rows[0]["id"]) if rows else None

    def append_log(self, job_id: str, text: str) -> None:
        """Append a line to the job's log."""
        with self._transaction() as database:
            row = database.execute(
                "UPDATE jobs SET log_lines = log_lines + 1 WHERE id = ? RETURNING log_lines", (job_id,)
            ).fetchone()
            if row:
                number = row["log_lines"]
                line = text[:MAX_LINE_CHARACTERS]
                database.execute("INSERT INTO lines (job, number, text) VALUES (?,?,?)", (job_id, number, line))
                database.execute("DELETE FROM lines WHERE job = ? AND number <= ?", (job_id, number - MAX_LINES))

    def set_progress(self, job_id: str, stage: str, share: float, text: str) -> None:
        """Record the job's progress."""
        update = "UPDATE jobs SET stage = ?, share = ?, text = ? WHERE id = ?"
        self._execute(update, stage, share, text[:MAX_LINE_CHARACTERS], job_id)

    def finish(
        self,
        job_id: str,
        state: State,
        reason: str | None = None,
        version: str | None = None,
        card: dict[str, Any] | None = None,
    ) -> None:
        """Record the end of a running job."""
        self._execute(
            "UPDATE jobs SET state = ?, finished_at = ?, reason = ?, version = ?, card = ?"
            " WHERE id = ? AND state = 'running'",
            *(state, now(), reason, version, json.dumps(card) if card else None, job_id),
        )

    def cancel_waiting(self, job_id: str) -> bool:
        """Cancel a waiting job; return False if it does not wait."""
        changed = self._execute(
            "UPDATE jobs SET state = 'cancelled', finished_at = ?, reason = 'It was cancelled before it started.'"
            " WHERE id = ? AND state = 'queued' RETURNING id",
            *(now(), job_id),
        )
        return bool(changed)

    def interrupt_running(self, reason: str) -> list[str]:
        """Mark running jobs as interrupted; return their ids."""
        update = (
            "UPDATE jobs SET state = 'interrupted', finished_at = ?, reason = ? WHERE state = 'running' RETURNING id"
        )
        return [row["id"] for row in self._execute(update, now(), reason)]

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def _execute(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """Run one statement in a transaction of its own; return its rows."""
        with self._transaction() as database:
            return database.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def now() -> str:
    """Return the current time in UTC, in the format of a job's times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    values["config"] = json.loads(values["config"])
    values["card"] = json.loads(values["card"]) if values["card"] else None
    values["force"] = bool(values["force"])
    return Job(**values)
