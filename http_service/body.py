"""Read a request's body up to a limit."""

import logging
from collections.abc import Iterator

from flask import Request

from http_service.problems import DETAILS, Problem

# Gunicorn copies what it has read ahead with each block.
_BLOCK_BYTES = 1024 * 1024


class BoundedBody:
    """A request's body as a stream of at most `max_bytes`.

    Werkzeug's MAX_CONTENT_LENGTH silently truncates a chunked body at the limit; this one rejects it.
    """

    def __init__(self, request: Request, max_bytes: int, too_large: str = DETAILS[413]) -> None:
        """
        Raises:
            Problem: 413 the declared length is beyond the limit; too_large is its sentence.
        """
        self._too_large = Problem(413, too_large)
        self._declared = request.content_length
        if (self._declared or 0) > max_bytes:
            raise self._too_large
        self._stream = request.stream
        self._max_bytes = max_bytes
        self._received = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end.

        Raises:
            Problem: 400 the client stopped early, 413 the body is beyond the limit.
        """
        try:
            block = self._stream.read(min(size, self._max_bytes + 1 - self._received))
        # Gunicorn has several exceptions for a chunked body that was cut.
        except Exception as error:
            raise Problem(400, DETAILS[400]) from error
        self._received += len(block)
        if self._received > self._max_bytes:
            raise self._too_large
        # A client that disconnects, or is too slow, ends like one that is done.
        if not block and self._declared not in (None, self._received):
            raise Problem(400, DETAILS[400])
        return block

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body in blocks."""
        while block := self.read(_BLOCK_BYTES):
            yield block


def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the whole body, of at most `max_bytes`.

    Raises:
        Problem: 400 the client stopped early, 413 the body is beyond the limit.
    """
    return b"".join(BoundedBody(request, max_bytes))


def no_room(error: OSError) -> Problem:
    """Return a 503 for a folder that cannot be written; the log has the reason."""
    logging.getLogger(__name__).error("no room for an upload", extra={"reason": str(error)})
    return Problem(503, "The service has no room for this file now; try again later.", headers={"Retry-After": "30"})
