"""Connections and their deadlines."""

import time
from collections import OrderedDict
from itertools import takewhile
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

    def take_expired(self) -> list[Any]:
        """Remove and return each connection whose time is over."""
        if not self._due:
            return []
        now = time.monotonic()
        expired = [conn for conn, _ in takewhile(lambda entry: entry[1] <= now, self._due.items())]
        for conn in expired:
            del self._due[conn]
        return expired

    def __len__(self) -> int:
        return len(self._due)
