"""Gunicorn's threaded worker with two lanes: single rows where connections are waited for, all else in threads."""

from __future__ import annotations

import gc
import re
import selectors
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from gunicorn.workers import gthread

from flask_app.server.connection import IDLE_SECONDS
from flask_app.server.gate import Busy, gate
from flask_app.server.response import STALLED_SECONDS

if TYPE_CHECKING:
    from flask_app.server.balance import Balance
    from flask_app.server.fast_path import FastLane

# Clients that may stall at a time in one worker before others have to wait for them. Threads are made when needed.
STALLED_CLIENTS = 128

# Seconds that the fast lane waits for the rest of a request; after that, a thread reads it, and judges how slow it is.
REST_SECONDS = 1.0

# Seconds that a connection is left to a worker that has fewer, at most, and between two looks whether it took it.
YIELD_SECONDS = 0.02
_LOOK_SECONDS = 0.001

# Seconds since its last request in which a connection counts as busy, and between two counts.
BUSY_SECONDS = 1.0
COUNT_SECONDS = 0.1

# Seconds without accepting where the system has no room for a connection.
_NO_ROOM_SECONDS = 1.0

# Seconds that a client gets to read why it was turned away, and to close.
_FAREWELL_SECONDS = 2.0

_CHUNK = 64 * 1024

# Beyond it, Gunicorn says what is too long.
_LONGEST_HEAD = 8 * 1024
_is_request = re.compile(rb"[A-Z]{1,16}+(?: ?\Z| /)").match

# New connections in one round of the poller.
_ACCEPTED_AT_ONCE = 256

# Objects between two searches for garbage: some more than the lists that a large JSON body becomes.
_NEW_OBJECTS = 50_000

# Seconds after which a thread that computes gives way: the lane's thread needs the interpreter three times a request.
_SWITCH_SECONDS = 0.0005


class Threads(ThreadPoolExecutor):
    """Where the system refuses a further thread (a container's pids limit), work waits for one of those there are."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            # It would end Gunicorn's accepting thread, and with it the worker.
            if not self._threads:
                raise


class Connections:
    """Connections by the time at which each is given up; the part of a deque that `ThreadWorker` uses, without its
    search through all of them."""

    def __init__(self) -> None:
        self._conns: OrderedDict[Any, None] = OrderedDict()

    def append(self, conn: Any) -> None:
        """Add one whose time is the latest."""
        self._conns[conn] = None

    def renew(self, conn: Any) -> None:
        """One that is in here has become the latest."""
        self._conns.move_to_end(conn)

    def remove(self, conn: Any) -> None:
        """Take one out."""
        del self._conns[conn]

    def popleft(self) -> Any:
        """Take out the earliest."""
        return self._conns.popitem(last=False)[0]

    def __getitem__(self, index: int) -> Any:
        return next(islice(self._conns, index, None))

    def __contains__(self, conn: Any) -> bool:
        return conn in self._conns

    def __reversed__(self) -> Iterator[Any]:
        yield from reversed(self._conns)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._conns)

    def __len__(self) -> int:
        return len(self._conns)


class ApiWorker(gthread.ThreadWorker):
    """The setting `threads` counts those that work; those that wait for a client come on top.

    A connection waits in the poller until its client has sent something. The fast lane answers there and then what it
    can; for everything else a thread gets the connection, with the bytes that were read.
    """

    cfg: Any
    balance: Balance
    slot: int | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.keepalived_conns = Connections()
        # Those in the poller that have sent a part of a body, a part of a head, and those that are told good-bye.
        self._begun = Connections()
        self._heads = Connections()
        self._leaving = Connections()
        self._lane: FastLane | None = None
        self._most_served = self.worker_connections * 2 // 3
        self._resume_at: float | None = None
        self._load = 0
        self._count_at = 0.0
        self._yielded = False

    def load_wsgi(self) -> None:
        """Load the application, and find its fast lane."""
        super().load_wsgi()
        # Only here: what counts must be imported by the process that counts.
        from flask_app.server.overload import turn_away

        self._turn_away = partial(turn_away, self.wsgi.extensions["model_track"])
        self._lane = self.wsgi.extensions["fast_lane"]
        # What is loaded now stays: without that, each body of ten thousand rows has it searched for garbage, for 10 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_NEW_OBJECTS, 10, 10)

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Called once, in the worker's own process."""
        sys.setswitchinterval(_SWITCH_SECONDS)
        gate.open(self.cfg.threads)
        threads = Threads(max_workers=self.cfg.threads + STALLED_CLIENTS)
        # Where the system refuses even the first one, it is better known now.
        threads.submit(int)
        return threads

    # --- accepting -----------------------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        """Take the new connections, unless another worker should.

        Several in one round: a round answers every connection that has asked, and a new one waits for it.
        """
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self._yielded and self.balance.has_more_than_another(self._load):
                self._yielded = True
                self._pause_accepting(YIELD_SECONDS)
                return
            self._yielded = False
            try:
                client_sock, client_addr = listener.accept()
            # None is left, or the client is gone.
            except (BlockingIOError, ConnectionAbortedError):
                return
            # No file descriptor, no memory: there may be some in a moment, and an error here would end the worker.
            except OSError as error:
                self.log.error("a connection cannot be accepted now: %s", error)
                self._pause_accepting(_NO_ROOM_SECONDS)
                return
            self._take_in(gthread.TConn(self.cfg, client_sock, client_addr, listener.getsockname()))
            if self.nr_conns >= self.worker_connections:
                return

    def _has_caught_up(self) -> bool:
        """Has the worker that connections were left to taken them?"""
        if not self._yielded or self.balance.has_more_than_another(self._load):
            return False
        self._yielded = False
        return True

    def _pause_accepting(self, seconds: float) -> None:
        self._resume_at = time.monotonic() + seconds
        super().set_accept_enabled(False)

    def _tell(self) -> None:
        self.balance.set(self.slot, self._load if self.alive else -1)

    def _take_in(self, conn: Any) -> None:
        self.nr_conns += 1
        self._load += 1
        self._tell()
        conn.excess = self.nr_conns > self._most_served
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))

    def set_accept_enabled(self, enabled: bool) -> None:
        """Not while connections are left to another worker."""
        if not enabled or self._resume_at is None:
            super().set_accept_enabled(enabled)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """As there, and tell the other workers how many connections keep this one busy."""
        now = time.monotonic()
        if now >= self._count_at:
            self._count_at = now + COUNT_SECONDS
            self._load = self._busy_connections(now)
            self._tell()
        if self._load > 0:
            timeout = min(timeout, COUNT_SECONDS)
        if self._resume_at is not None:
            timeout = min(timeout, _LOOK_SECONDS)
        super().wait_for_and_dispatch_events(timeout)
        if self._resume_at is not None and (self._has_caught_up() or time.monotonic() >= self._resume_at):
            self._resume_at = None
            if self.alive:
                super().set_accept_enabled(True)

    def _busy_connections(self, now: float) -> int:
        """Those that threads have, and those in the poller that did something a moment ago."""
        since = now + self.cfg.keepalive - BUSY_SECONDS
        recent = takewhile(lambda conn: conn.timeout >= since, reversed(self.keepalived_conns))
        in_threads: int = self.nr_conns - len(self.keepalived_conns)
        return in_threads + sum(1 for _ in recent)

    # --- the two lanes -------------------------------------------------------------------------------------

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Answer in the fast lane, or leave the connection to a thread."""
        try:
            received = client.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._drop(conn)
            return
        if conn in self._leaving:
            if not received:
                self._drop(conn)
            return
        if not received and not conn.received:
            self._drop(conn)
            return
        if conn.excess and self.nr_conns > self._most_served:
            self._send_away(conn, client)
            return
        conn.received += received
        if received and is_part_of_a_head(conn.received):
            self._await_rest(conn, self._heads, IDLE_SECONDS)
            return
        answer = self._ask_lane(conn) if received else None
        if answer:
            self._send(conn, client, answer)
        elif answer is None:
            self._leave_to_thread(conn)
        else:
            self._await_rest(conn, self._begun, REST_SECONDS)

    def _ask_lane(self, conn: Any) -> bytes | None:
        if not self.alive or self._lane is None:
            return None
        try:
            return self._lane.answer(conn.received, conn.client[0])
        # It would end the worker.
        except Exception:
            self.log.exception("the fast lane failed; Flask is asked")
            return None

    def _await_rest(self, conn: Any, group: Connections, seconds: float) -> None:
        if conn in group:
            return
        self._forget_rest(conn)
        conn.rest_due = time.monotonic() + seconds
        group.append(conn)

    def _forget_rest(self, conn: Any) -> None:
        for group in (self._begun, self._heads, self._leaving):
            if conn in group:
                group.remove(conn)

    def _send(self, conn: Any, client: Any, answer: bytes) -> None:
        self._forget_rest(conn)
        conn.received = b""
        try:
            sent = client.send(answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(conn)
            return
        if sent == len(answer):
            conn.set_timeout()
            self.keepalived_conns.renew(conn)
            return
        # The client sends rows and reads no answers.
        self._take_out(conn)
        self._submit(conn, partial(_finish, conn, answer[sent:]))

    def _send_away(self, conn: Any, client: Any) -> None:
        try:
            client.send(self._turn_away(conn.client[0], None, None))
        except OSError:
            self._drop(conn)
            return
        self._say_goodbye(conn)

    def _say_goodbye(self, conn: Any) -> None:
        """Close only when the client has: what it sent and nobody read becomes a reset that overtakes its answer."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        conn.rest_due = time.monotonic() + _FAREWELL_SECONDS
        self._leaving.append(conn)

    def _leave_to_thread(self, conn: Any) -> None:
        self._take_out(conn)
        conn.data_ready = True
        self.enqueue_req(conn)

    def enqueue_req(self, conn: Any) -> None:
        """Let a thread read, answer and finish the request."""
        conn.queued_at = time.monotonic()
        self._submit(conn, partial(self.handle, conn))

    def _submit(self, conn: Any, work: Any) -> None:
        future: Future[Any] = self.tpool.submit(work)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def finish_request(self, conn: Any, done: Future[Any]) -> None:
        """Called here when a thread is through with a connection: wait for the next request, or say good-bye."""
        if not done.cancelled() and done.exception():
            self.nr_conns -= 1
            conn.close()
            return
        if done.cancelled() or done.result():
            super().finish_request(conn, done)
            return
        try:
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))
        # A failure in the middle of an answer has closed it already.
        except (OSError, ValueError):
            self.nr_conns -= 1
            conn.close()
            return
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        self._say_goodbye(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer one request, whose head has been read, or turn it away if it had to wait too long."""
        try:
            with gate.inside(since=conn.queued_at):
                return super().handle_request(req, conn)
        except Busy:
            conn.sock.sendall(self._turn_away(conn.client[0], req.method, req.path))
            return False

    # --- giving up -----------------------------------------------------------------------------------------

    def murder_pending(self) -> None:
        """Called in each round: what has waited long enough for its rest goes to a thread."""
        now = time.monotonic()
        while self._begun and self._begun[0].rest_due <= now:
            self._leave_to_thread(self._begun[0])
        # A thread is too good for a client that has not even sent a head.
        for group in (self._heads, self._leaving):
            while group and group[0].rest_due <= now:
                self._drop(group[0])

    def murder_keepalived(self, force: bool = False) -> None:
        """Close what was idle too long; a request that has begun is a thread's to judge."""
        now = time.monotonic()
        while self.keepalived_conns and (force or self.keepalived_conns[0].timeout <= now):
            conn = self.keepalived_conns[0]
            if conn.received and not force:
                self._leave_to_thread(conn)
            else:
                self._drop(conn)

    def _take_out(self, conn: Any) -> None:
        self.poller.unregister(conn.sock)
        self.keepalived_conns.remove(conn)
        self._forget_rest(conn)

    def _drop(self, conn: Any) -> None:
        self._take_out(conn)
        self.nr_conns -= 1
        conn.close()
        self._load = max(0, self._load - 1)
        self._tell()


def is_part_of_a_head(received: bytes) -> bool:
    """It begins as a request does, and its head has not ended; what is longer than any head is not."""
    return b"\r\n\r\n" not in received and len(received) < _LONGEST_HEAD and _is_request(received) is not None


def _finish(conn: Any, rest: bytes) -> bool:
    """In a thread: send the rest of an answer; True keeps the connection."""
    conn.init()
    conn.sock.settimeout(STALLED_SECONDS)
    conn.sock.sendall(rest)
    return True
