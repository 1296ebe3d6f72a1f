"""Clients that send nothing, or half a request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from http_service.gunicorn.deadlines import Deadlines
from http_service.gunicorn.slow_clients import IDLE_SECONDS

if TYPE_CHECKING:
    from flask_app.server.api_connection import ApiConnection
    from flask_app.server.connections import Connections
    from http_service.gunicorn.worker import LingeringWorker

# The header read timeout closes the connection: a stalled header must not occupy a thread.
HEADER_READ_SECONDS = IDLE_SECONDS
# The body read timeout hands the request to a thread, which has the limits for slow clients.
BODY_READ_SECONDS = 1.0


class Expiry:
    """Closes idle connections and stalled headers, and hands stalled bodies to threads."""

    def __init__(self, worker: LingeringWorker, connections: Connections) -> None:
        self._worker = worker
        self._connections = connections
        self._headers = Deadlines(HEADER_READ_SECONDS)
        self._bodies = Deadlines(BODY_READ_SECONDS)

    def await_header(self, conn: ApiConnection) -> None:
        """Wait for the remaining header of a request."""
        conn.wait(self._headers)

    def await_body(self, conn: ApiConnection) -> None:
        """Wait for the remaining body of a request that the fast path may answer."""
        conn.wait(self._bodies)

    def end_stalled(self) -> None:
        """Apply both read timeouts."""
        for conn in self._bodies.take_expired():
            self._connections.hand_to_thread(conn)
        for conn in self._headers.take_expired():
            self._connections.close(conn)

    def close_idle(self, force: bool = False) -> None:
        """Close the connections that were idle too long, or all of them; a request in part is a thread's."""
        idle = self._worker.keepalived_conns
        now = time.monotonic()
        while idle and (force or idle[0].timeout <= now):
            conn = idle[0]
            if conn.received and not force:
                self._connections.hand_to_thread(conn)
            else:
                self._connections.close(conn)
