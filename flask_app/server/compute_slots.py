"""How many of a worker's threads compute at a time; the others wait for their clients."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# A request that waits longer for a slot is shed: clients give up, and the queue of an overload must end soon after it.
MAX_WAIT_SECONDS = 1.5


class NoSlotError(Exception):
    """No slot became free in time."""


class ComputeSlots:
    """Limits the threads that compute; a thread frees its slot while it waits for its client."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(1)
        self._thread = threading.local()

    def set_number(self, threads: int) -> None:
        """Set how many threads may compute, before the first one does."""
        self._free = threading.Semaphore(threads)

    @contextmanager
    def acquired(self, since: float | None = None) -> Iterator[None]:
        """Compute, as soon as a slot is free; since is when the request began to wait, in monotonic time.

        Raises:
            NoSlotError: it has waited for MAX_WAIT_SECONDS; never without since.
        """
        patience = None if since is None else max(0.0, since + MAX_WAIT_SECONDS - time.monotonic())
        if not self._free.acquire(timeout=patience):
            raise NoSlotError
        self._thread.has_slot = True
        try:
            yield
        finally:
            self._thread.has_slot = False
            self._free.release()

    @contextmanager
    def released(self) -> Iterator[None]:
        """Wait for a client without the slot that this thread may have."""
        if not getattr(self._thread, "has_slot", False):
            yield
            return
        self._free.release()
        try:
            yield
        finally:
            self._free.acquire()


compute_slots = ComputeSlots()
