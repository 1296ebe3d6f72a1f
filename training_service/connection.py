"""Where Gunicorn's own ways do not do: clients that stall, and its log."""

import threading
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn

# Seconds without one byte from a client whose request has begun.
IDLE_SECONDS = 10.0


class TimedConnection(TConn):
    """A connection that gives its thread back when the client stalls."""

    sock: Any

    def init(self) -> None:
        """When a thread has got the connection, and has set its socket to wait for ever."""
        super().init()
        self.sock.settimeout(IDLE_SECONDS)

    def close(self, graceful: bool = False) -> None:
        """End it; a graceful end waits 2 s for the client, which must not hold up all the others."""
        if graceful:
            threading.Thread(target=super().close, args=(True,), daemon=True).start()
        else:
            super().close()


class TimedUnreader(SocketUnreader):
    """Reads from a socket; a client that is too slow counts as one that has gone away."""

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes, none at the end."""
        try:
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            return b""
        return data


class QuietLogger(Logger):
    """Leaves handlers and levels to the root logger, and requests to `request_log`."""

    def setup(self, cfg: Any) -> None:
        """Let every record go up to the root logger, which `gunicorn.conf.py` has set up."""
        self.error_log.handlers.clear()
        self.error_log.propagate = True

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Nothing: the application writes one line a request itself."""

    def reopen_files(self) -> None:
        """Nothing: logs go to standard output."""
