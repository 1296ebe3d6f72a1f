"""The connections that wait for their clients."""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Any


class IdleQueue:
    """Connections by their idle timeout, in place of Gunicorn's deque, whose search is linear."""

    def __init__(self) -> None:
        self._conns: OrderedDict[Any, None] = OrderedDict()

    def append(self, conn: Any) -> None:
        """Add a connection whose timeout is the latest."""
        self._conns[conn] = None

    def renew(self, conn: Any) -> None:
        """Move a connection whose timeout has become the latest."""
        self._conns.move_to_end(conn)

    def remove(self, conn: Any) -> None:
        """Remove a connection."""
        del self._conns[conn]

    def __getitem__(self, index: int) -> Any:
        return next(islice(self._conns, index, None))

    def __reversed__(self) -> Iterator[Any]:
        yield from reversed(self._conns)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._conns)

    def __len__(self) -> int:
        return len(self._conns)
