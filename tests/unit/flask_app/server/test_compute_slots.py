"""Clients that stall: when their thread is given back, and that waiting does not count as working."""

import socket
import threading
import time
from typing import Any

import pytest

from flask_app.server import connection as gunicorn_connection
from flask_app.server.connection import TimedUnreader
from flask_app.server.gate import Gate
from flask_app.server.problem import write_problem


@pytest.fixture
def pair() -> Any:
    """A client's end of a connection, and the server's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_silent_client_counts_as_gone(pair: Any) -> None:
    _, server = pair
    server.settimeout(0.05)
    assert TimedUnreader(server).chunk() == b""


def test_a_client_below_the_lowest_rate_counts_as_gone(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = pair
    monkeypatch.setattr(gunicorn_connection, "PATIENCE_SECONDS", 0.05)
    reader = TimedUnreader(server)
    timer = threading.Timer(0.1, client.sendall, [b"x"])
    timer.start()
    assert reader.chunk() == b""
    timer.join()


def test_what_came_fast_enough_is_read_and_a_new_request_begins_anew(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    monkeypatch.setattr(gunicorn_connection, "PATIENCE_SECONDS", 0.05)
    reader = TimedUnreader(server, max_chunk=100)
    for _ in range(3):
        client.sendall(b"y" * 10)
        time.sleep(0.03)
        # The time until now was the service's own, not the client's.
        assert reader.chunk() == b"y" * 10
    reader._waited = 100.0
    reader.start()
    client.sendall(b"z")
    assert reader.chunk() == b"z"


def test_only_so_many_work_at_a_time() -> None:
    gate = Gate()
    gate.open(2)
    working, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal working, most
        with gate.inside():
            with lock:
                working += 1
                most = max(most, working)
            time.sleep(0.02)
            with lock:
                working -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


def test_one_that_waits_for_its_client_lets_another_in() -> None:
    gate = Gate()
    gate.open(1)
    waiting, go_on = threading.Event(), threading.Event()

    def stall() -> None:
        with gate.inside(), gate.outside():
            waiting.set()
            go_on.wait(10)

    stalled = threading.Thread(target=stall)
    stalled.start()
    assert waiting.wait(10)
    with gate.inside():
        pass
    go_on.set()
    stalled.join(10)
    assert not stalled.is_alive()
    # Whoever never came in has nothing to give back.
    with gate.outside(), gate.inside():
        pass


def test_the_room_of_one_that_fails_is_free_again() -> None:
    gate = Gate()
    gate.open(1)
    for _ in range(2):
        with pytest.raises(ConnectionResetError), gate.inside(), gate.outside():
            raise ConnectionResetError
    with gate.inside():
        pass


@pytest.mark.parametrize("status", [400, 403, 414, 417, 431, 500, 501])
def test_gunicorns_refusals_are_complete_problems(pair: Any, status: int) -> None:
    client, server = pair
    write_problem(server, status, "Reason", "<script>what the client sent</script>")
    head, body = client.recv(65536).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d Reason\r\n" % status)
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert b"application/problem+json" in head
    assert b"script" not in body
