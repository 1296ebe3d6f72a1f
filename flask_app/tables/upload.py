"""Receive a whole file onto a disk before the answer begins."""

import contextlib
import tempfile
import time
from typing import IO

from flask import Request

from http_service.body import BoundedBody, no_room
from http_service.problems import Problem

# Gunicorn reads 64 KiB of an unread body before it closes; a client that still sends would get a reset connection
# instead of the answer.
_DISCARD_SECONDS = 2.0


def receive(request: Request, max_bytes: int, folder: str) -> IO[bytes]:
    """Return the complete body as a file in the folder, at its start; the file has no name and ends when closed.

    Raises:
        Problem: 400 the client stopped before the end, 413 more than max_bytes, 503 no room.
    """
    file = _unnamed_file(folder)
    try:
        for piece in _body(request, max_bytes):
            try:
                file.write(piece)
            except OSError as error:
                raise no_room(error) from error
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def discard(request: Request, max_bytes: int) -> None:
    """Read the remaining body for a moment after an early error, so that the client can read the answer."""
    socket = request.environ.get("gunicorn.socket")
    patience = socket.gettimeout() if socket is not None else None
    if socket is not None:
        socket.settimeout(_DISCARD_SECONDS)
    deadline = time.monotonic() + _DISCARD_SECONDS
    with contextlib.suppress(Problem):
        for _ in _body(request, max_bytes):
            if time.monotonic() > deadline:
                break
    if socket is not None:
        socket.settimeout(patience)


def _body(request: Request, max_bytes: int) -> BoundedBody:
    return BoundedBody(request, max_bytes, f"The file is larger than {max_bytes} bytes; send it in parts.")


def _unnamed_file(folder: str) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise no_room(error) from error
