"""Measure one request beside others that stall or are expensive."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from benchmarks.http_client import post
from benchmarks.measures.context import Context
from benchmarks.measures.edge import nginx
from benchmarks.names import OURS, STALLS
from benchmarks.running import Running

_CLIENTS = 300
_REQUESTS = 100
_CLOSING = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_HALF_HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Ty"
# A backtracking expression takes seconds for one of these.
_SLOW_HEADS = {
    "empty fields": b"A: \r\n" * 50 + b"X: \xe9\r\n",
    "blanks": b"X:" + b" " * 7000 + b"\xe9\r\n",
    "blanks and tabs": b"X:" + b" \t" * 3000 + b"\xe9\r\n",
    "a long name": b"A" * 7000 + b"\r\n",
}


def measure_stalls(context: Context) -> None:
    """Measure our server and plain FastAPI, with enough stalled clients to exhaust a pool of threads."""
    context.interleaved(lambda running: _stalls(context, running), OURS, "fastapi")


def _stalls(context: Context, running: Running) -> None:
    def row() -> None:
        post(running.url, running.server.row, running.work.iris[:1])

    def add(case: str, request: Callable[[], object]) -> None:
        took = []
        for _ in range(_REQUESTS):
            began = time.perf_counter()
            request()
            took.append(1000 * (time.perf_counter() - began))
        context.samples.add(STALLS, running.server.name, case, p50_ms=float(np.median(took)), slowest_ms=max(took))

    add("alone", row)
    for case, sent in {"clients that do not close": _CLOSING, "half a head": _HALF_HEAD}.items():
        with _stalled(running.port, sent):
            add(case, row)
    for case, field in _SLOW_HEADS.items():
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n" + field + b"\r\n"
        add(f"a head of {case}", lambda head=head: _exchange(running.port, head))  # type: ignore[misc]
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as silent:
        for case, settings in {
            "Nginx": {},
            "Nginx, a shadow hangs": {"SHADOW_UPSTREAM": f"127.0.0.1:{silent.getsockname()[1]}"},
        }.items():
            with nginx(running.work, running.port, **settings) as edge:
                load = running.row_load(2, context.seconds(3.0), edge=edge)
                context.samples.add(STALLS, running.server.name, case, p50_ms=load.p50_ms, slowest_ms=load.max_ms)


@contextmanager
def _stalled(port: int, sent: bytes) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(_CLIENTS):
            stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(sent)
        time.sleep(2.0)
        yield


def _exchange(port: int, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(raw)
        return b"".join(iter(lambda: connection.recv(65536), b""))
