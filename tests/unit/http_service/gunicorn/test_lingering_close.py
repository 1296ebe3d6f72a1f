"""The lingering close: the client gets its answer, and no thread waits."""

import selectors
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from http_service.gunicorn import lingering_close
from http_service.gunicorn.lingering_close import LingeringClose


class Worker:
    """The part of Gunicorn's worker that has the poller."""

    def __init__(self) -> None:
        self.poller = selectors.DefaultSelector()
        self.nr_conns = 1

    def round(self) -> None:
        for key, _ in self.poller.select(0):
            key.data(key.fileobj)


class Connection:
    """The part of Gunicorn's connection that has the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.close = sock.close


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.poller.close()


@pytest.fixture
def client_and_conn() -> Iterator[tuple[socket.socket, Any]]:
    client, server = socket.socketpair()
    with client, server:
        yield client, Connection(server)


def test_what_the_client_still_sends_is_discarded_until_it_closes(worker: Worker, client_and_conn: Any) -> None:
    client, conn = client_and_conn
    lingering = LingeringClose(worker)
    conn.sock.sendall(b"answer")
    lingering.start(conn)
    client.sendall(b"x" * 100_000)
    assert client.recv(100) == b"answer" and client.recv(100) == b""
    worker.round()
    worker.round()
    assert worker.nr_conns == 1 and len(lingering) == 1
    client.close()
    worker.round()
    assert worker.nr_conns == 0 and len(lingering) == 0 and conn.sock.fileno() == -1


def test_a_client_that_does_not_close_is_closed_in_the_end(
    worker: Worker, client_and_conn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering_close, "LINGER_SECONDS", 0.0)
    lingering = LingeringClose(worker)
    lingering.start(client_and_conn[1])
    lingering.close_expired()
    assert worker.nr_conns == 0 and not worker.poller.get_map()


def test_a_connection_that_has_already_ended_is_closed_at_once(worker: Worker, client_and_conn: Any) -> None:
    client_and_conn[1].sock.close()
    lingering = LingeringClose(worker)
    lingering.start(client_and_conn[1])
    assert worker.nr_conns == 0 and len(lingering) == 0
