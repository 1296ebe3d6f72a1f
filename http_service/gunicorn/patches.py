"""Every patch of Gunicorn, and the versions that they were tested with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gunicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    from http_service.gunicorn.response import OneWriteResponse
    from http_service.gunicorn.slow_clients import TimedUnreader

TESTED_VERSIONS = ("27.0.1",)


class UntestedGunicornError(Exception):
    """The installed Gunicorn is not one of `TESTED_VERSIONS`."""


def check_version() -> None:
    """Reject a Gunicorn that the patches, and the workers' subclasses of Gunicorn's classes, were not tested with.

    Raises:
        UntestedGunicornError: the message contains the tested versions, and what to do.
    """
    if gunicorn.__version__ not in TESTED_VERSIONS:
        raise UntestedGunicornError(
            f"Gunicorn {gunicorn.__version__} was not tested with this service; tested: {', '.join(TESTED_VERSIONS)}. "
            f"Run pip install gunicorn=={TESTED_VERSIONS[-1]}, or test the new version and add it to TESTED_VERSIONS "
            "in http_service/gunicorn/patches.py."
        )


def apply(
    write_error: Callable[[Any, int, str, str], None],
    response: type[OneWriteResponse] | None = None,
    unreader: type[TimedUnreader] | None = None,
) -> None:
    """Replace in this worker what Gunicorn has no setting for.

    write_error(socket, status, reason, message) answers a request that is not valid HTTP; Gunicorn's own answers in
    HTML that repeats what the client sent. response and unreader are a service's own subclasses.
    """
    # Imported here: another version, which `check_version` rejects, may not have these modules.
    from gunicorn import util
    from gunicorn.http import parser, wsgi
    from gunicorn.workers import gthread

    from http_service.gunicorn.response import OneWriteResponse
    from http_service.gunicorn.slow_clients import TimedConnection, TimedUnreader

    util.write_error = write_error
    wsgi.Response = response or OneWriteResponse
    # Gunicorn's limit for a silent client ends with the first byte of a request.
    gthread.TConn = TimedConnection
    parser.SocketUnreader = unreader or TimedUnreader
