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
    started_at: str | None
    finished_at: str | None
    stage: str | None
    share: float
    text: str
    version: str | None
    reason: str | None
    card: dict[str, Any] | None
    log_lines: int

    @property
    def has_ended(self) -> bool:
        """Return whether the job has ended."""
        return self.state not in ("queued", "running")


_COLUMNS = ", ".join(Job.__struct_fields__)
# Cards would make a list of megabytes.
_COLUMNS_OF_LIST = _COLUMNS.replace(", card,", ", NULL AS card,")


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
            if self._waiting(database) >= queue_length:
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
        with self._transaction() as database:
            return self._waiting(database)

    def all(self) -> list[Job]:
        """Return every job without its card, newest first."""
        with self._transaction() as database:
            rows = database.execute(f"SELECT {_COLUMNS_OF_LIST} FROM jobs ORDER BY number DESC")  # noqa: S608
            return [_job(row) for row in rows]

    def get(self, job_id: str) -> Job | None:
        """Return a job, or None if it does not exist."""
        with self._transaction() as database:
            row = database.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchone()  # noqa: S608
            return _job(row) if row else None

    def log(self, job_id: str, after: int, last: int) -> list[str]:
        """Return the kept lines of the job's log from number `after` + 1 to `last`, counted from 1."""
        with self._transaction() as database:
            rows = database.execute(
                "SELECT text FROM lines WHERE job = ? AND number > ? AND number <= ? ORDER BY number",
                (job_id, after, last),
            )
            return [row["text"] for row in rows]

    def start_next(self) -> Job | None:
        """Mark the first job of the queue as running and return it, or None if the queue is empty."""
        with self._transaction() as database:
            row = database.execute(
                "UPDATE jobs SET state = 'running', started_at = ? WHERE number ="
                " (SELECT number FROM jobs WHERE state = 'queued' ORDER BY number LIMIT 1)"
                " RETURNING id",
                (now(),),
            ).fetchone()
        return self.get(row["id"]) if row else None

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
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET stage = ?, share = ?, text = ? WHERE id = ?",
                (stage, share, text[:MAX_LINE_CHARACTERS], job_id),
            )

    def finish(
        self,
        job_id: str,
        state: State,
        reason: str | None = None,
        version: str | None = None,
        card: dict[str, Any] | None = None,
    ) -> None:
        """Record the end of a running job."""
        with self._transaction() as database:
            database.execute(
                "UPDATE jobs SET state = ?, finished_at = ?, reason = ?, version = ?, card = ?"
                " WHERE id = ? AND state = 'running'",
                (state, now(), reason, version, json.dumps(card) if card else None, job_id),
            )

    def cancel_waiting(self, job_id: str) -> bool:
        """Cancel a waiting job; return False if it does not wait."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE jobs SET state = 'cancelled', finished_at = ?, reason = 'It was cancelled before it started.'"
                " WHERE id = ? AND state = 'queued'",
                (now(), job_id),
            )
            return changed.rowcount == 1

    def interrupt_running(self, reason: str) -> list[str]:
        """Mark running jobs as interrupted; return their ids."""
        with self._transaction() as database:
            rows = database.execute(
                "UPDATE jobs SET state = 'interrupted', finished_at = ?, reason = ? WHERE state = 'running'"
                " RETURNING id",
                (now(), reason),
            )
            return [row["id"] for row in rows]

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    @staticmethod
    def _waiting(database: sqlite3.Connection) -> int:
        return int(database.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0])

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
