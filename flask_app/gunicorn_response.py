"""How an answer is written to its socket."""

from typing import Any

from gunicorn import util
from gunicorn.http.wsgi import Response


class OneWriteResponse(Response):
    """Sends the head together with the first bytes of the body.

    Gunicorn writes them one after the other. A worker killed in between leaves a head without its body, which Nginx has
    passed on by then and can no longer ask another worker for.
    """

    sock: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._head = b""

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
        util.write(self.sock, head + data)

    def sendfile(self, respiter: Any) -> bool:
        """False: a file is read and written like any other body."""
        return False

    def close(self) -> None:
        """End the answer; one without a body is sent here."""
        self.send_headers()
        end = b"0\r\n\r\n" if self.chunked else b""
        if self._head or end:
            head, self._head = self._head, b""
            util.write(self.sock, head + end)


class _Recorder:
    """Takes what would go to a socket."""

    data = b""

    def sendall(self, data: bytes) -> None:
        self.data += data
