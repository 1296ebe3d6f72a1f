"""Which of a worker's threads work, and which only wait for a client."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Lets so many threads work at a time; one that waits for its client steps out, and comes back in afterwards."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(1)
        self._inside = threading.local()

    def open(self, threads: int) -> None:
        """Set how many may be inside, before the first comes."""
        self._free = threading.Semaphore(threads)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Work, as soon as there is room."""
        with self._free:
            self._inside.now = True
            try:
                yield
            finally:
                self._inside.now = False

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
