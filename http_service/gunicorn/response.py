"""How an answer is written to its socket."""

import errno
from typing import Any

from gunicorn import util
from gunicorn.http.wsgi import Response

from flask_app.server.gate import gate

_SLICE = 256 * 1024

# Above Nginx's send_timeout, 30 s: a client that pauses is Nginx's to judge.
STALLED_SECONDS = 60.0


class OneWriteResponse(Response):
    """Sends the head together with the first bytes of the body.

    Gunicorn writes them one after the other. A worker killed in between leaves a head without its body, which Nginx has
    passed on by then and can no longer ask another worker for.
    """

    sock: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._head = b""

    def process_headers(self, headers: Any) -> None:
        """Take the application's word that the connection ends; Gunicorn by itself drops that header."""
        super().process_headers(headers)
        if ("Connection", "close") in headers:
            self.force_close()

    def send_headers(self) -> None:
        """Keep the head until there is something to send it with."""
        socket, self.sock = self.sock, _Recorder()
        try:
            super().send_headers()
            self._head += self.sock.data
        finally:
            self.sock = socket

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            data = b"%X\r\n%b\r\n" % (len(data), data)
        head, self._head = self._head, b""
        self._write(head + data)

    def sendfile(self, respiter: Any) -> bool:
        """False: a file is read and written like any other body."""
        return False

    def close(self) -> None:
        """End the answer; one without a body is sent here."""
        self.send_headers()
        end = b"0\r\n\r\n" if self.chunked else b""
        if self._head or end:
            head, self._head = self._head, b""
            self._write(head + end)

    def _write(self, data: bytes) -> None:
        # The socket's time limit is for one write: in slices it ends a client that stalls, not one that is slow.
        for start in range(0, len(data), _SLICE):
            patience = self.sock.gettimeout()
            self.sock.settimeout(STALLED_SECONDS)
            try:
                with gate.outside():
                    util.write(self.sock, data[start : start + _SLICE])
            except TimeoutError:
                raise ConnectionResetError(errno.ECONNRESET, "the client stopped reading") from None
            finally:
                self.sock.settimeout(patience)


class _Recorder:
    """Takes what would go to a socket."""

    data = b""

    def sendall(self, data: bytes) -> None:
        self.data += data
