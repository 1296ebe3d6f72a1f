"""How long a client may keep a thread waiting."""

import time
from typing import Any

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

from flask_app.server.gate import gate

# Seconds without one byte in either direction; gunicorn's own limit ends with the first byte.
IDLE_SECONDS = 15.0
# A client that was waited for longer than that must have sent so many bytes a second.
PATIENCE_SECONDS = 30.0
LOWEST_RATE = 1024


class TimedConnection(TConn):
    """A connection that gives its thread back when the client stalls."""

    sock: Any
    parser: Any
    # What was read of a request before a thread got the connection.
    received = b""
    # Monotonic times: since when a request waits for a thread, and until when its rest is waited for.
    queued_at = 0.0
    rest_due = 0.0
    # Beyond the worker's limit, to be turned away.
    excess = False

    def init(self) -> None:
        """Before each request, when the worker has just set the socket to wait for ever."""
        super().init()
        self.sock.settimeout(IDLE_SECONDS)
        unreader = getattr(self.parser, "unreader", None)
        if isinstance(unreader, TimedUnreader):
            unreader.start()
            if self.received:
                unreader.unread(self.received)
                self.received = b""


class TimedUnreader(SocketUnreader):
    """Reads from a socket; a client that is too slow counts as one that has gone away."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.start()

    def start(self) -> None:
        """Begin to count, at a new request."""
        self._waited = 0.0
        self._received = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes, none at the end."""
        # Only time spent here: a client cannot help it when the answer takes long.
        began = time.monotonic()
        try:
            with gate.outside():
                data: bytes = super().chunk(size_hint)
        except TimeoutError:
            return b""
        self._waited += time.monotonic() - began
        self._received += len(data)
        if self._waited > PATIENCE_SECONDS and self._received < LOWEST_RATE * self._waited:
            return b""
        return data
