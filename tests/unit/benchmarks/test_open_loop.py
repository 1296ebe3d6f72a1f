"""The open-loop client against real sockets: it counts every outcome of a request."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks import open_loop
from benchmarks.measures.overload import recovery_seconds
from benchmarks.open_loop import OpenLoop, http_requests

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
SHED = b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}"
RUDE = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def server(answers: list[bytes | None]) -> Iterator[int]:
    """Answer requests in turn with these bytes, in two pieces; None: send nothing; b"": close the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    turn = iter(range(10**9))
    held: list[socket.socket] = []

    def serve(client: socket.socket) -> None:
        while client.recv(65536):
            answer = answers[next(turn) % len(answers)]
            if answer is None:
                held.append(client)
                return
            if not answer:
                break
            client.sendall(answer[:20])
            time.sleep(0.002)
            client.sendall(answer[20:])
            if answer is LAST:
                break
        client.close()

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for client in held:
            client.close()


def offer(port: int, rate: float = 80, seconds: float = 0.5) -> dict[str, int]:
    buckets = OpenLoop("127.0.0.1", port, http_requests("/predict", "application/json", [b"{}"])).run([(rate, seconds)])
    return {
        name: sum(getattr(bucket, name) for bucket in buckets) for name in ("sent", "good", "shed", "other", "timeouts")
    }


def test_good_answers_and_valid_503s_are_counted_separately() -> None:
    with server([GOOD, SHED, RUDE, b""]) as port:
        assert offer(port) == {"sent": 40, "good": 10, "shed": 10, "other": 20, "timeouts": 0}


def test_a_connection_that_the_server_ends_is_replaced() -> None:
    with server([LAST]) as port:
        assert offer(port) == {"sent": 40, "good": 40, "shed": 0, "other": 0, "timeouts": 0}


def test_silence_is_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_loop, "ANSWER_SECONDS", 1.5)
    with server([GOOD, None]) as port:
        assert offer(port) == {"sent": 40, "good": 20, "shed": 0, "other": 0, "timeouts": 20}


def test_a_refused_connection_is_no_good_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    result = offer(port)
    assert (result["sent"], result["good"], result["other"]) == (40, 0, 40)


@pytest.mark.parametrize(
    ("p99", "seconds"), [([50, 50, 1, 1], 0.5), ([1, 1, 1, 1], 0.0), ([1, 1, 1, 50], float("inf"))]
)
def test_recovery_ends_with_the_last_abnormal_answer(p99: list[float], seconds: float) -> None:
    buckets = [{"good_ms": [ms], "shed": 0, "other": 0, "timeouts": 0} for ms in p99]
    assert recovery_seconds(buckets, normal_ms=10) == seconds


def test_a_503_after_the_overload_is_not_normal() -> None:
    buckets = [{"good_ms": [1.0], "shed": shed, "other": 0, "timeouts": 0} for shed in (5, 1, 0)]
    assert recovery_seconds(buckets, normal_ms=10) == 0.5
