"""How Gunicorn's workers share connections.

All workers wait on one listening socket, and the kernel tells whichever it likes of a new connection; with few
connections it often gives most of them to one worker while another idles. A connection stays with its worker, so it
matters who takes it.
"""

import mmap
import time
from collections.abc import Iterable
from typing import Any

# A worker writes at least once a second; one that did not is stuck, and nobody waits for it.
_STUCK_SECONDS = 2.0

_NONE = -1.0


class Balance:
    """How many connections keep each worker busy, in memory that all of them see."""

    def __init__(self, workers: int) -> None:
        """Made in the arbiter, before the first fork; workers beyond that number are not balanced."""
        self._slots = max(workers, 1)
        # Of each worker the connections, then when it wrote them, in monotonic time.
        self._memory = memoryview(mmap.mmap(-1, 16 * self._slots)).cast("d")
        for slot in range(self._slots):
            self._memory[2 * slot] = _NONE

    def give_slot(self, worker: Any, others: Iterable[Any]) -> None:
        """In the arbiter, before a worker is forked: its place, which no living one has."""
        # After a reload the old workers have places in another balance.
        taken = {other.slot for other in others if getattr(other, "balance", None) is self}
        worker.slot = next((slot for slot in range(self._slots) if slot not in taken), None)

    def leave(self, worker: Any) -> None:
        """In the arbiter, after a worker's end: nobody waits for it any more."""
        if worker.slot is not None and getattr(worker, "balance", None) is self:
            self._memory[2 * worker.slot] = _NONE

    def set(self, slot: int | None, connections: int) -> None:
        """Tell the others; -1: this worker takes no more."""
        if slot is not None:
            self._memory[2 * slot] = connections
            self._memory[2 * slot + 1] = time.monotonic()

    def has_more_than_another(self, connections: int) -> bool:
        """Is there a worker that takes connections and has clearly fewer than these?"""
        # To the last one only while they are few: a burst of many would wait for its turns.
        fewer = connections - connections // (8 if connections < 64 else 3)
        earliest = time.monotonic() - _STUCK_SECONDS
        return any(
            0 <= self._memory[2 * slot] < fewer and self._memory[2 * slot + 1] > earliest for slot in range(self._slots)
        )
