"""Receive a file whole, onto a disk, before any of it is answered."""

import contextlib
import logging
import tempfile
import threading
import time
from typing import IO

from flask import Request

from http_service.body import BoundedBody
from http_service.problems import Problem

_log = logging.getLogger(__name__)

# Gunicorn reads 64 KiB of an unread body before it closes; a client that is still sending would see a reset connection
# instead of the answer.
_DISCARD_SECONDS = 2.0


class FileSlots:
    """How many files one worker has under way: half of its threads, so that single rows always find one free."""

    def __init__(self, threads: int) -> None:
        self._free = threading.BoundedSemaphore(max(1, threads // 2))

    def take(self) -> None:
        """Occupy a slot until `give_back`.

        Raises:
            Problem: 503 none is free.
        """
        if not self._free.acquire(blocking=False):
            detail = "The service works on as many files as it takes at once; send this one again in a moment."
            raise Problem(503, detail, headers={"Retry-After": "2"})

    def give_back(self) -> None:
        """Free the slot."""
        self._free.release()


def receive(request: Request, max_bytes: int, folder: str) -> IO[bytes]:
    """The complete body as an unnamed file in the folder, at its start; it is gone when it is closed.

    Raises:
        Problem: 400 the client stopped before the end, 413 more than max_bytes, 503 no room.
    """
    file = unnamed_file(folder)
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
    """Read on for a moment what an early refusal leaves unread, so that the client gets to read the refusal."""
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


def unnamed_file(folder: str) -> IO[bytes]:
    """A file that is gone when it is closed, or its process ends.

    Raises:
        Problem: 503 the folder cannot be written.
    """
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise no_room(error) from error


def no_room(error: OSError) -> Problem:
    """503 for a folder that cannot be written; the log says why."""
    _log.error("no room for an upload", extra={"reason": str(error)})
    return Problem(503, "The service has no room for this file now; try again later.", headers={"Retry-After": "30"})
