"""What happens when a client has sent something."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from flask_app.server.fast_path import NEED_MORE, FastPath, NeedMore
from http_service.gunicorn.response import SEND_SECONDS

if TYPE_CHECKING:
    from flask_app.server.api_connection import ApiConnection
    from flask_app.server.connections import Connections
    from flask_app.server.expiry import Expiry
    from flask_app.server.load_shedding import LoadShedding
    from http_service.gunicorn.worker import LingeringWorker

_BLOCK_BYTES = 64 * 1024

# Gunicorn answers a longer header with an error.
_MAX_HEADER_BYTES = 8 * 1024
_is_request = re.compile(rb"[A-Z]{1,16}+(?: ?\Z| /)").match


class Dispatcher:
    """Reads what a client has sent: the fast path answers it here, or a thread gets the connection."""

    def __init__(
        self,
        worker: LingeringWorker,
        connections: Connections,
        fast_path: FastPath | None,
        expiry: Expiry,
        shedding: LoadShedding,
    ) -> None:
        self._worker = worker
        self._connections = connections
        self._fast_path = fast_path
        self._expiry = expiry
        self._shedding = shedding

    def read(self, conn: ApiConnection, client: Any) -> None:
        """Handle a connection of the poller that has become readable."""
        try:
            received = client.recv(_BLOCK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._connections.close(conn)
            return
        if not received and not conn.received:
            self._connections.close(conn)
            return
        if conn.is_excess and self._shedding.is_overloaded():
            self._shed(conn, client)
            return
        conn.received += received
        if received and is_partial_header(conn.received):
            self._expiry.await_header(conn)
            return
        answer = self._fast_answer(conn) if received else None
        if answer is None:
            self._connections.hand_to_thread(conn)
        elif answer is NEED_MORE:
            self._expiry.await_body(conn)
        else:
            self._send(conn, client, answer)

    def _fast_answer(self, conn: ApiConnection) -> bytes | Literal[NeedMore.NEED_MORE] | None:
        if self._fast_path is None or not self._worker.alive:
            return None
        try:
            return self._fast_path.answer(conn.received, conn.client[0])
        # An uncaught error would end the worker.
        except Exception:
            self._worker.log.exception("the fast path failed; Flask answers the request")
            return None

    def _send(self, conn: ApiConnection, client: Any, answer: bytes) -> None:
        conn.stop_waiting()
        conn.received = b""
        try:
            sent = client.send(answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._connections.close(conn)
            return
        if sent == len(answer):
            conn.set_timeout()
            self._worker.keepalived_conns.renew(conn)
            return
        # The client sends rows and does not read the answers.
        self._connections.take_out(conn)
        self._connections.submit(conn, partial(_send_remaining, answer[sent:]))

    def _shed(self, conn: ApiConnection, client: Any) -> None:
        try:
            client.send(self._shedding.answer(conn.client[0]))
        except OSError:
            self._connections.close(conn)
            return
        self._connections.take_out(conn)
        self._worker.lingering_close.start(conn)


def is_partial_header(received: bytes) -> bool:
    """Return whether a request begins so, and its header neither ends here nor is too long."""
    return b"\r\n\r\n" not in received and len(received) < _MAX_HEADER_BYTES and _is_request(received) is not None


def _send_remaining(answer: bytes, conn: ApiConnection) -> bool:
    """Send the remaining bytes of an answer, in a thread; return True to keep the connection."""
    conn.init()
    conn.sock.settimeout(SEND_SECONDS)
    conn.sock.sendall(answer)
    return True
