"""How long a client may keep a thread waiting."""

import time
from typing import Any

from gunicorn import util
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

from flask_app.gunicorn_gate import gate

# Seconds without one byte in either direction; gunicorn's own limit ends with the first byte.
IDLE_SECONDS = 15.0
# A client that was waited for longer than that must have sent so many bytes a second.
PATIENCE_SECONDS = 30.0
LOWEST_RATE = 1024

# The thread that accepts connections waits for the client's end of a closed one; two seconds of that, gunicorn's own
# value, let a few clients that never close hold up everybody.
_LINGER_SECONDS = 0.2


class TimedConnection(TConn):
    """A connection that gives its thread back when the client stalls."""

    sock: Any
    parser: Any

    def init(self) -> None:
        """Before each request, when the worker has just set the socket to wait for ever."""
        super().init()
        self.sock.settimeout(IDLE_SECONDS)
        unreader = getattr(self.parser, "unreader", None)
        if isinstance(unreader, TimedUnreader):
            unreader.start()

    def close(self, graceful: bool = False) -> None:
        """End the connection; unread bytes must not become a reset that overtakes the answer."""
        if graceful:
            util.close_graceful(self.sock, timeout=_LINGER_SECONDS)
        else:
            util.close(self.sock)


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
