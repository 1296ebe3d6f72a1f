"""Gunicorn's threaded worker with a fast path for single rows."""

import gc
import sys
from typing import Any

from flask_app.server.balance import Balance, WorkerLoad
from flask_app.server.compute_slots import NoSlotError, compute_slots
from flask_app.server.idle_queue import IdleQueue
from flask_app.server.thread_pool import ThreadPool
from http_service.gunicorn.worker import LingeringWorker

# Threads that wait for slow clients, beside those that compute; the pool starts them when it needs them.
MAX_STALLED_CLIENTS = 128

# New objects between two runs of the garbage collector; more than a large JSON body has lists.
_GC_OBJECTS = 50_000

# A thread that computes yields after this time: the poller's thread needs the interpreter three times a request.
_SWITCH_SECONDS = 0.0005


class ApiWorker(LingeringWorker):
    """Connects the parts of the API's server with the calls of Gunicorn's threaded worker.

    A connection waits in the poller until its client has sent something. `Dispatcher` then lets the fast path answer,
    or a thread gets the connection with the bytes that were read. The setting `threads` counts those that compute.
    """

    cfg: Any
    balance: Balance
    slot: int | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.keepalived_conns = IdleQueue()

    def load_wsgi(self) -> None:
        """Load the application, and make the parts that need it."""
        super().load_wsgi()
        # Imported here: the process that imports prometheus_client is the one that counts.
        from flask_app.server.accepting import Acceptor
        from flask_app.server.connections import Connections
        from flask_app.server.dispatcher import Dispatcher
        from flask_app.server.expiry import Expiry
        from flask_app.server.load_shedding import LoadShedding

        application = self.wsgi.extensions
        load = WorkerLoad(self, self.balance, self.slot)
        self._connections = Connections(self, load)
        self._expiry = Expiry(self, self._connections)
        self._shedding = LoadShedding(self, application["model_track"])
        self._acceptor = Acceptor(self, self._connections, load, self._shedding)
        dispatcher = Dispatcher(self, self._connections, application["fast_path"], self._expiry, self._shedding)
        # Gunicorn's loop calls these parts without a method between.
        self.accept = self._acceptor.accept
        self.on_client_socket_readable = dispatcher.read
        self.murder_keepalived = self._expiry.close_idle
        # The garbage collector skips what is loaded now: each body of 10,000 rows would make it search that for 10 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_OBJECTS, 10, 10)

    def get_thread_pool(self) -> ThreadPool:
        """Make the thread pool, in the worker's own process."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        compute_slots.set_number(self.cfg.threads)
        pool = ThreadPool(max_workers=self.cfg.threads + MAX_STALLED_CLIENTS)
        # If the system has no room for the first thread, the start must fail, not a request.
        pool.submit(int)
        return pool

    def set_accept_enabled(self, enabled: bool) -> None:
        """Listen or not; a pause of the acceptor lasts."""
        if not enabled or not self._acceptor.is_paused:
            super().set_accept_enabled(enabled)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Run one round of the poller."""
        super().wait_for_and_dispatch_events(self._acceptor.limit_wait(timeout))
        self._acceptor.resume()

    def enqueue_req(self, conn: Any) -> None:
        """Let a thread answer a pipelined request."""
        self._connections.submit(conn, self.handle)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request whose header was read, or shed it; in a thread."""
        try:
            with compute_slots.acquired(since=conn.queued_at):
                return super().handle_request(req, conn)
        except NoSlotError:
            conn.sock.sendall(self._shedding.answer(conn.client[0], req.method, req.path))
            return False

    def murder_pending(self) -> None:
        """Apply the read timeouts; Gunicorn calls this in each round."""
        super().murder_pending()
        self._expiry.end_stalled()
