"""Read a request's body up to a limit."""

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

# Gunicorn copies what it has read ahead with each block.
_BLOCK = 1024 * 1024


def read_body(request: Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes.

    Werkzeug's MAX_CONTENT_LENGTH cuts a chunked body at the limit without a word; this one refuses it.

    Raises:
        RequestEntityTooLarge: there is more, by the request's own word or on reading.
    """
    if (request.content_length or 0) > limit:
        raise RequestEntityTooLarge
    blocks = []
    room = limit + 1
    while room and (block := request.stream.read(min(room, _BLOCK))):
        blocks.append(block)
        room -= len(block)
    if not room:
        raise RequestEntityTooLarge
    return b"".join(blocks)
