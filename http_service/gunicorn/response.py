"""How an answer is written to its socket."""

import errno
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from gunicorn import util
from gunicorn.http.wsgi import Response

_SLICE_BYTES = 256 * 1024

# For one slice. Above Nginx's send_timeout, 30 s, so that Nginx ends a client that stops reading first.
SEND_SECONDS = 60.0


class OneWriteResponse(Response):
    """Sends the header together with the first bytes of the body.

    Gunicorn writes one after the other. Between the two, a killed worker leaves a header without a body; Nginx has
    passed that header on and can no longer try another worker.
    """

    sock: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._header = b""

    def process_headers(self, headers: Any) -> None:
        """Close the connection where the application's header demands it; Gunicorn ignores that header."""
        super().process_headers(headers)
        if ("Connection", "close") in headers:
            self.force_close()

    def send_headers(self) -> None:
        """Keep the header until there is a body to send it with."""
        socket, self.sock = self.sock, _Recorder()
        try:
            super().send_headers()
            self._header += self.sock.data
        finally:
            self.sock = socket

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            data = b"%X\r\n%b\r\n" % (len(data), data)
        header, self._header = self._header, b""
        self._write(header + data)

    def sendfile(self, respiter: Any) -> bool:
        """Return False: a file is read and written like any other body."""
        return False

    def close(self) -> None:
        """End the answer; an answer without a body is sent here."""
        self.send_headers()
        end = b"0\r\n\r\n" if self.chunked else b""
        if self._header or end:
            header, self._header = self._header, b""
            self._write(header + end)

    def waiting(self) -> AbstractContextManager[None]:
        """Return the context in which to wait for the client."""
        return nullcontext()

    def _write(self, data: bytes) -> None:
        # The socket's time limit covers a whole write: slices allow a slow client and end a stalled one.
        for start in range(0, len(data), _SLICE_BYTES):
            read_seconds = self.sock.gettimeout()
            self.sock.settimeout(SEND_SECONDS)
            try:
                with self.waiting():
                    util.write(self.sock, data[start : start + _SLICE_BYTES])
            except TimeoutError:
                raise ConnectionResetError(errno.ECONNRESET, "the client stopped reading") from None
            finally:
                self.sock.settimeout(read_seconds)


class _Recorder:
    """Records what would go to a socket."""

    data = b""

    def sendall(self, data: bytes) -> None:
        self.data += data
