"""An early refusal has to reach a client that is still sending."""

from __future__ import annotations

import contextlib
import time

from flask import Response, request

# Gunicorn closes a connection with more of a body unread, and the client sees a reset instead of the answer.
_DISCARD_SECONDS = 2.0
_BLOCK = 256 * 1024


def discard_unread(response: Response) -> Response:
    """Read on for a moment what a refusal left unread."""
    if response.status_code < 400 or not (request.content_length or request.headers.get("Transfer-Encoding")):
        return response
    socket = request.environ.get("gunicorn.socket")
    patience = socket.gettimeout() if socket is not None else None
    if socket is not None:
        socket.settimeout(_DISCARD_SECONDS)
    deadline = time.monotonic() + _DISCARD_SECONDS
    # A client that went away, or chunks that are none: there is nobody to answer.
    with contextlib.suppress(Exception):
        stream = request.environ["wsgi.input"]
        while time.monotonic() < deadline and stream.read(_BLOCK):
            pass
    if socket is not None:
        socket.settimeout(patience)
    return response
