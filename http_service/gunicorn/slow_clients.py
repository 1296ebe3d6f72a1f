"""Limits for clients that stall or trickle, so that each gives its thread back."""

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

# Without one byte from the client.
IDLE_SECONDS = 15.0
# A client that the service has waited for longer than this must have sent at least so many bytes a second.
SLOW_AFTER_SECONDS = 30.0
MIN_BYTES_PER_SECOND = 1024


class TimedConnection(TConn):
    """A connection that limits how long its client may be silent."""

    sock: Any
    parser: Any

    def init(self) -> None:
        """Prepare for a request; the worker has just set the socket to wait for ever."""
        super().init()
        self.sock.settimeout(IDLE_SECONDS)
        self.parser.unreader.start_request()


class TimedUnreader(SocketUnreader):
    """Reads a request from a socket; a client that is too slow ends like one that has disconnected."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.start_request()

    def start_request(self) -> None:
        """Measure a new request."""
        self._waited_seconds = 0.0
        self._received_bytes = 0

    def waiting(self) -> AbstractContextManager[None]:
        """Return the context in which to wait for the client."""
        return nullcontext()

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes, none at the end."""
        try:
            with self.waiting():
                # Not the time between two reads, which the service itself takes.
                started = time.monotonic()
                data: bytes = super().chunk(size_hint)
                self._waited_seconds += time.monotonic() - started
        except TimeoutError:
            return b""
        self._received_bytes += len(data)
        is_late = self._waited_seconds > SLOW_AFTER_SECONDS
        if is_late and self._received_bytes < MIN_BYTES_PER_SECOND * self._waited_seconds:
            return b""
        return data
