"""Connections and their deadlines."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any


class Deadlines:
    """Connections that each have the same number of seconds, in order of their deadlines."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # A dict would search for its first entry among all that were removed.
        self._due: OrderedDict[Any, float] = OrderedDict()

    def start(self, conn: Any) -> None:
        """Add a connection, whose time begins now."""
        self._due[conn] = time.monotonic() + self._seconds

    def stop(self, conn: Any) -> None:
        """Remove a connection, if it has not expired."""
        self._due.pop(conn, None)

    def take_expired(self) -> Iterator[Any]:
        """Remove and yield each connection whose time is over."""
        now = time.monotonic()
        while self._due and next(iter(self._due.values())) <= now:
            yield self._due.popitem(last=False)[0]

    def __len__(self) -> int:
        return len(self._due)
