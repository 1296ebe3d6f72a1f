"""The connections of a worker."""

from __future__ import annotations

import selectors
import time
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from flask_app.server.api_connection import ApiConnection
    from flask_app.server.balance import WorkerLoad
    from http_service.gunicorn.worker import LingeringWorker


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


class Connections:
    """Moves a connection between the poller, where it waits for its client, and the threads."""

    def __init__(self, worker: LingeringWorker, load: WorkerLoad) -> None:
        self._worker = worker
        self._load = load

    def open(self, conn: ApiConnection) -> None:
        """Wait for the first request of a new connection."""
        worker = self._worker
        worker.nr_conns += 1
        self._load.add(1)
        conn.set_timeout()
        worker.keepalived_conns.append(conn)
        worker.poller.register(conn.sock, selectors.EVENT_READ, partial(worker.on_client_socket_readable, conn))

    def close(self, conn: ApiConnection) -> None:
        """Close a connection that waits in the poller."""
        self.take_out(conn)
        self._worker.nr_conns -= 1
        conn.close()
        self._load.add(-1)

    def take_out(self, conn: ApiConnection) -> None:
        """Remove a connection from the poller."""
        self._worker.poller.unregister(conn.sock)
        self._worker.keepalived_conns.remove(conn)
        conn.stop_waiting()

    def hand_to_thread(self, conn: ApiConnection) -> None:
        """Let a thread read, answer and finish a request that was read in part."""
        self.take_out(conn)
        conn.data_ready = True
        self.submit(conn, self._worker.handle)

    def submit(self, conn: ApiConnection, work: Callable[[ApiConnection], Any]) -> None:
        """Let a thread do some work for a connection that is not in the poller; its result keeps or ends it."""
        worker = self._worker
        conn.queued_at = time.monotonic()
        future: Future[Any] = worker.tpool.submit(work, conn)
        future.add_done_callback(lambda done: worker.method_queue.defer(worker.finish_request, conn, done))
