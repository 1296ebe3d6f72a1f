"""Every patch of Gunicorn, and the versions that they were tested with."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import gunicorn

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


def apply(waiting: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
    """Replace in this worker what Gunicorn has no setting for; threads wait for clients in the context waiting()."""
    # Imported here: another version, which `check_version` rejects, may not have these modules.
    from gunicorn import util
    from gunicorn.http import parser, wsgi
    from gunicorn.workers import gthread

    from http_service.gunicorn.problem import write_problem
    from http_service.gunicorn.response import OneWriteResponse
    from http_service.gunicorn.slow_clients import TimedConnection, TimedUnreader

    OneWriteResponse.waiting = TimedUnreader.waiting = waiting
    # Gunicorn's errors are HTML, and repeat what the client sent.
    util.write_error = write_problem
    wsgi.Response = OneWriteResponse
    # Gunicorn's limit for a silent client ends with the first byte of a request.
    gthread.TConn = TimedConnection
    parser.SocketUnreader = TimedUnreader
