"""A limit on the requests that do something large at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from http_service.problems import Problem


@contextmanager
def occupied(slots: threading.BoundedSemaphore, detail: str, retry_seconds: int) -> Iterator[None]:
    """Occupy a slot.

    Raises:
        Problem: 503 with this detail, if none is free.
    """
    if not slots.acquire(blocking=False):
        raise Problem(503, detail, headers={"Retry-After": str(retry_seconds)})
    try:
        yield
    finally:
        slots.release()
