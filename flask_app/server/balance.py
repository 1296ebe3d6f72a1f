"""How Gunicorn's workers share connections.

All workers wait on one listening socket, and the kernel gives a new connection to any of them; with few connections it
often gives most of them to one worker while another idles. A connection stays with its worker.
"""

import mmap
import time
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

# A worker writes at least once a second. The others ignore one that did not: it is stuck.
_STUCK_SECONDS = 2.0

# A connection is busy for this long after its last request.
BUSY_SECONDS = 1.0
COUNT_SECONDS = 0.1

_CLOSED = -1.0


class Balance:
    """The number of connections that keep each worker busy, in shared memory."""

    def __init__(self, workers: int) -> None:
        """Allocate the memory, in the arbiter before the first fork; further workers are not balanced."""
        self._slots = max(workers, 1)
        # For each worker its connections, then the monotonic time at which it wrote them.
        self._memory = memoryview(mmap.mmap(-1, 16 * self._slots)).cast("d")
        for slot in range(self._slots):
            self._memory[2 * slot] = _CLOSED

    def assign_slot(self, worker: Any, others: Iterable[Any]) -> None:
        """Give a worker a free slot, in the arbiter before the fork."""
        # After a reload the old workers have slots in another balance.
        taken = {other.slot for other in others if getattr(other, "balance", None) is self}
        worker.slot = next((slot for slot in range(self._slots) if slot not in taken), None)

    def close_slot(self, worker: Any) -> None:
        """Stop waiting for a worker that has ended, in the arbiter."""
        if worker.slot is not None and getattr(worker, "balance", None) is self:
            self._memory[2 * worker.slot] = _CLOSED

    def set(self, slot: int | None, connections: int | None) -> None:
        """Share a worker's number of connections; None: it accepts no more."""
        if slot is not None:
            self._memory[2 * slot] = _CLOSED if connections is None else connections
            self._memory[2 * slot + 1] = time.monotonic()

    def has_more_than_another(self, connections: int) -> bool:
        """Return whether another worker that accepts connections has clearly fewer than these."""
        # Exactly balanced only while they are few: a burst of many would wait for its turns.
        fewer = connections - connections // (8 if connections < 64 else 3)
        earliest = time.monotonic() - _STUCK_SECONDS
        return any(
            0 <= self._memory[2 * slot] < fewer and self._memory[2 * slot + 1] > earliest for slot in range(self._slots)
        )


class WorkerLoad:
    """Counts the connections that keep this worker busy, and shares the number with the other workers."""

    def __init__(self, worker: Any, balance: Balance, slot: int | None) -> None:
        self._worker = worker
        self._balance = balance
        self._slot = slot
        self._count_at = 0.0
        self.connections = 0

    def add(self, change: int) -> None:
        """Count a connection that opens (1) or closes (-1)."""
        self.connections = max(0, self.connections + change)
        self._share()

    def recount(self) -> None:
        """Recount every COUNT_SECONDS."""
        now = time.monotonic()
        if now >= self._count_at:
            self._count_at = now + COUNT_SECONDS
            self.connections = self._busy_connections(now)
            self._share()

    def is_above_another(self) -> bool:
        """Return whether another worker has clearly fewer busy connections."""
        return self._balance.has_more_than_another(self.connections)

    def _share(self) -> None:
        self._balance.set(self._slot, self.connections if self._worker.alive else None)

    def _busy_connections(self, now: float) -> int:
        """Return how many connections threads have, or had a request a moment ago."""
        worker = self._worker
        since = now + worker.cfg.keepalive - BUSY_SECONDS
        recent = takewhile(lambda conn: conn.timeout >= since, reversed(worker.keepalived_conns))
        in_threads: int = worker.nr_conns - len(worker.keepalived_conns) - len(worker.lingering_close)
        return in_threads + sum(1 for _ in recent)
