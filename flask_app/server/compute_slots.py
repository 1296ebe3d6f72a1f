"""Which of a worker's threads work, and which only wait for a client."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds that a request waits for room before it is turned away. What waits longer than clients do is work for nobody,
# and the queue of an overload has to be gone soon after it ends.
WAIT_SECONDS = 1.5


class Busy(Exception):
    """There was no room in time."""


class Gate:
    """Lets so many threads work at a time; one that waits for its client steps out, and comes back in afterwards."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(1)
        self._inside = threading.local()

    def open(self, threads: int) -> None:
        """Set how many may be inside, before the first comes."""
        self._free = threading.Semaphore(threads)

    @contextmanager
    def inside(self, since: float | None = None) -> Iterator[None]:
        """Work, as soon as there is room; since is the monotonic time from which the request waits, None for ever.

        Raises:
            Busy: it has waited for WAIT_SECONDS.
        """
        patience = None if since is None else max(0.0, since + WAIT_SECONDS - time.monotonic())
        if not self._free.acquire(timeout=patience):
            raise Busy
        self._inside.now = True
        try:
            yield
        finally:
            self._inside.now = False
            self._free.release()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Wait for a client; whoever is not inside just waits."""
        if not getattr(self._inside, "now", False):
            yield
            return
        self._free.release()
        try:
            yield
        finally:
            self._free.acquire()


gate = Gate()
