"""New connections."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flask_app.server.api_connection import ApiConnection
from flask_app.server.balance import COUNT_SECONDS

if TYPE_CHECKING:
    from flask_app.server.balance import WorkerLoad
    from flask_app.server.connections import Connections
    from flask_app.server.load_shedding import LoadShedding
    from http_service.gunicorn.worker import LingeringWorker

# How long a worker leaves connections to one that has fewer, and how often it checks whether that one took them.
YIELD_SECONDS = 0.02
_CHECK_SECONDS = 0.001

# Without accepting when the system has no room for a connection.
_NO_ROOM_SECONDS = 1.0

# In one round of the poller.
_MAX_ACCEPTED = 256


class Acceptor:
    """Accepts new connections; pauses while another worker has clearly fewer, or the system has no room."""

    def __init__(
        self, worker: LingeringWorker, connections: Connections, load: WorkerLoad, shedding: LoadShedding
    ) -> None:
        self._worker = worker
        self._connections = connections
        self._load = load
        self._shedding = shedding
        self._resume_at: float | None = None
        self._is_yielding = False

    @property
    def is_paused(self) -> bool:
        """Whether the listening socket is ignored for a moment."""
        return self._resume_at is not None

    def accept(self, listener: Any) -> None:
        """Accept several connections: a round also answers every client that has sent, and new ones wait for it."""
        for _ in range(_MAX_ACCEPTED):
            if not self._is_yielding and self._load.is_above_another():
                self._is_yielding = True
                self._pause(YIELD_SECONDS)
                return
            self._is_yielding = False
            try:
                client_sock, client_addr = listener.accept()
            # No more connections, or the client has disconnected.
            except (BlockingIOError, ConnectionAbortedError):
                return
            # No file descriptor or no memory: an uncaught error would end the worker.
            except OSError as error:
                self._worker.log.error("a connection cannot be accepted now: %s", error)
                self._pause(_NO_ROOM_SECONDS)
                return
            conn = ApiConnection(self._worker.cfg, client_sock, client_addr, listener.getsockname())
            self._connections.open(conn)
            conn.is_excess = self._shedding.is_overloaded()
            if self._worker.nr_conns >= self._worker.worker_connections:
                return

    def limit_wait(self, timeout: float) -> float:
        """Return how long the poller may wait, so that this worker counts and resumes in time."""
        self._load.recount()
        if self._load.connections > 0:
            timeout = min(timeout, COUNT_SECONDS)
        return timeout if self._resume_at is None else min(timeout, _CHECK_SECONDS)

    def resume(self) -> None:
        """End a pause when its time is over, or when the other worker has taken connections."""
        if self._resume_at is None or not (self._has_caught_up() or time.monotonic() >= self._resume_at):
            return
        self._resume_at = None
        if self._worker.alive:
            self._worker.set_accept_enabled(True)

    def _has_caught_up(self) -> bool:
        if not self._is_yielding or self._load.is_above_another():
            return False
        self._is_yielding = False
        return True

    def _pause(self, seconds: float) -> None:
        self._resume_at = time.monotonic() + seconds
        self._worker.set_accept_enabled(False)
