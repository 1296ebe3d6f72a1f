"""The end of a connection, as RFC 9112, section 9.6, recommends it."""

import selectors
import socket
from functools import partial
from typing import Any

from http_service.gunicorn.deadlines import Deadlines

# For the client to read its answer and to close.
LINGER_SECONDS = 2.0

_BLOCK_BYTES = 64 * 1024


class LingeringClose:
    """Closes a connection when its client has closed, and discards meanwhile what the client still sends.

    A socket that is closed with unread bytes resets its connection, and the client loses the answer. Gunicorn's own
    lingering close blocks the thread that accepts connections for up to 2 s each time.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._deadlines = Deadlines(LINGER_SECONDS)

    def start(self, conn: Any) -> None:
        """Announce the end to the client, and wait for its own; the poller does not have the connection."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self._worker.poller.register(conn.sock, selectors.EVENT_READ, partial(self._discard, conn))
        # The client has disconnected, or a failure in the middle of the answer has closed the socket.
        except (OSError, ValueError):
            self._close(conn)
            return
        self._deadlines.start(conn)

    def close_expired(self) -> None:
        """Close the connections whose clients have not closed in time."""
        for conn in self._deadlines.take_expired():
            self._worker.poller.unregister(conn.sock)
            self._close(conn)

    def __len__(self) -> int:
        return len(self._deadlines)

    def _discard(self, conn: Any, client: Any) -> None:
        try:
            received = client.recv(_BLOCK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._deadlines.stop(conn)
            self._worker.poller.unregister(client)
            self._close(conn)

    def _close(self, conn: Any) -> None:
        self._worker.nr_conns -= 1
        conn.close()
