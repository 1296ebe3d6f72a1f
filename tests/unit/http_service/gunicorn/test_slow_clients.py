"""When a thread stops waiting for a client that stalls or trickles."""

import socket
import threading
import time
from typing import Any

import pytest

from http_service.gunicorn import slow_clients
from http_service.gunicorn.slow_clients import TimedUnreader


@pytest.fixture
def pair() -> Any:
    """The client's and the server's end of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_silent_client_counts_as_gone(pair: Any) -> None:
    _, server = pair
    server.settimeout(0.05)
    assert TimedUnreader(server).chunk() == b""


def test_a_client_below_the_lowest_rate_counts_as_gone(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = pair
    monkeypatch.setattr(slow_clients, "SLOW_AFTER_SECONDS", 0.05)
    reader = TimedUnreader(server)
    timer = threading.Timer(0.1, client.sendall, [b"x"])
    timer.start()
    assert reader.chunk() == b""
    timer.join()


def test_fast_data_is_read_and_each_request_is_measured_separately(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = pair
    monkeypatch.setattr(slow_clients, "SLOW_AFTER_SECONDS", 0.05)
    reader = TimedUnreader(server, max_chunk=100)
    for _ in range(3):
        client.sendall(b"y" * 10)
        time.sleep(0.03)
        # The time between two reads is the service's own.
        assert reader.chunk() == b"y" * 10
    reader._waited_seconds = 100.0
    reader.start_request()
    client.sendall(b"z")
    assert reader.chunk() == b"z"
