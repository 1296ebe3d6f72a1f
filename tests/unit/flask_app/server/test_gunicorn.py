"""A real Gunicorn with the project's own configuration: processes, signals, sockets."""

import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from model_artifact.pickling import load_artifact
from model_artifact.store import ArtifactStore
from model_training.data.datasets import load_iris


def _post(body: bytes, *headers: str) -> bytes:
    lines = ["POST /predict HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def body(setosa: dict[str, float]) -> bytes:
    return json.dumps(setosa).encode()


def _whole(setosa_body: bytes) -> bytes:
    return _post(setosa_body, f"Content-Length: {len(setosa_body)}")


def _answer(connection: socket.socket) -> tuple[int, Any]:
    # Otherwise the socket stays open as long as its reader, past the test.
    with contextlib.closing(http.client.HTTPResponse(connection)) as answer:
        answer.begin()
        return answer.status, json.loads(answer.read() or b"null")


# Predictions


def test_both_workers_predict(server: Any, setosa: Any) -> None:
    """XGBoost's libgomp hangs for ever in a process forked from one that has predicted (xgboost#7044)."""
    assert len(server.workers()) == 2
    used: set[int] = set()
    deadline = time.monotonic() + 60
    with ThreadPoolExecutor(8) as pool:
        while len(used) < 2 and time.monotonic() < deadline:
            asked = [pool.submit(server.ask, "POST", "/predict", setosa, timeout=20) for _ in range(40)]
            assert [future.result()[0] for future in asked] == [200] * 40
            used = {line["process"] for line in server.log() if line.get("path") == "/predict"}
    assert used == set(server.workers())


def test_all_irises_over_one_connection_agree_with_the_model_in_process(server: Any, trained_store: Path) -> None:
    store = ArtifactStore(trained_store)
    model = load_artifact(store.folder(store.current())).model
    rows = load_iris().X
    with contextlib.closing(server.connect()) as connection:
        for row, expected in zip(rows.tolist(), model.predict_proba(rows).tolist(), strict=True):
            connection.request("POST", "/predict", json.dumps({"features": row}), {"Content-Type": "application/json"})
            assert list(json.loads(connection.getresponse().read())["probabilities"].values()) == expected


# Connections


def test_one_connection_carries_every_kind_of_answer(server: Any, body: bytes) -> None:
    """An answer with a wrong length would corrupt the next one."""
    requests = [
        ("GET", "/health", None, 200),
        ("HEAD", "/health", None, 200),
        ("POST", "/predict", body, 200),
        ("POST", "/predict", b"{", 400),
        ("HEAD", "/nowhere", None, 404),
        ("GET", "/predict", None, 405),
        ("OPTIONS", "/predict", None, 200),
        ("POST", "/nowhere", b"x" * 50_000, 404),
        ("POST", "/predict", body, 200),
    ]
    with contextlib.closing(server.connect()) as connection:
        connection.connect()
        own_port = connection.sock.getsockname()[1]
        for method, path, sent, status in requests:
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
            assert answer.status == status, (method, path, raw)
            assert len(raw) == (0 if method == "HEAD" else int(answer.headers["Content-Length"]))
            assert connection.sock.getsockname()[1] == own_port, "another connection was opened"


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/model", 405)])
def test_a_connection_that_is_announced_as_kept_is_kept(server: Any, path: str, status: int) -> None:
    """A request on a closed connection is lost."""
    with contextlib.closing(server.connect()) as connection:
        connection.request("POST", path, b" " * 200_000, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        if answer.headers["Connection"] == "keep-alive":
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200


def test_an_answer_arrives_in_one_piece(server: Any, body: bytes) -> None:
    """A worker killed between two writes would leave half an answer."""
    with server.raw() as connection:
        for _ in range(100):
            connection.sendall(_whole(body))
            assert connection.recv(65536).endswith(b"}")


def test_an_idle_connection_is_kept(server: Any, body: bytes) -> None:
    """Longer than Gunicorn's own 2 s: Nginx keeps its connections for 60 s and must never find one closed."""
    with server.raw() as connection:
        connection.sendall(_whole(body))
        assert _answer(connection)[0] == 200
        time.sleep(2.5)
        connection.sendall(_whole(body))
        assert _answer(connection)[0] == 200


def test_pipelined_requests_are_answered_in_order(server: Any, body: bytes) -> None:
    with server.raw() as connection:
        connection.sendall(_whole(body) + _whole(b"{}") + _whole(body))
        statuses = []
        # One reader for all three: separate HTTPResponses would read ahead into the next answer.
        with connection.makefile("rb") as file:
            for _ in range(3):
                statuses.append(int(file.readline().split()[1]))
                head = http.client.parse_headers(file)
                file.read(int(head["Content-Length"]))
        assert statuses == [200, 422, 200]


def test_expect_100_continue_is_answered(server: Any, body: bytes) -> None:
    """curl sends it before a body of a megabyte."""
    with server.raw() as connection:
        connection.sendall(_post(b"", f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert _answer(connection)[0] == 200


def test_an_http_1_0_client_gets_its_answer_and_the_end(server: Any) -> None:
    with server.raw() as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert received.startswith(b"HTTP/1.0 200 OK\r\n") and received.endswith(b'{"status":"ok"}\n')


def _chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize(("length", "status"), [(100, 200), (4_194_304, 200), (4_194_305, 413), (4_240_000, 413)])
def test_a_chunked_body_has_the_same_limit(server: Any, body: bytes, length: int, status: int) -> None:
    """Its length is not declared."""
    with server.raw() as connection:
        connection.sendall(_post(_chunks(body.ljust(length), 50_000), "Transfer-Encoding: chunked"))
        given, answer = _answer(connection)
    assert given == status, answer


GARBAGE = [
    b"\x00" * 1000,
    random.Random(0).randbytes(1000),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 300,
    b"\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
    b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /predict HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _post(b"zz\r\nnot a chunk\r\n", "Transfer-Encoding: chunked"),
    _post(b"{", "Content-Length: 10"),
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: repr(garbage[:24]))
def test_garbage_is_rejected(server: Any, setosa: Any, garbage: bytes) -> None:
    before = set(server.workers())
    with server.raw() as connection, contextlib.suppress(OSError):
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert not received.startswith(b"HTTP/1.1 2") and b"Traceback" not in received
    assert server.ask("POST", "/predict", setosa)[0] == 200
    assert set(server.workers()) == before


@pytest.mark.parametrize("path", ["/model?" + "a" * 5000, "/a b"])
def test_gunicorns_own_errors_are_problems(server: Any, path: str) -> None:
    """Every error is JSON."""
    with server.raw() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with contextlib.closing(http.client.HTTPResponse(connection)) as answer:
            answer.begin()
            assert answer.headers.get_content_type() == "application/problem+json"


@pytest.mark.parametrize("half", ["head", "body"])
def test_slow_clients_do_not_delay_health(start_server: Any, trained_store: Path, body: bytes, half: str) -> None:
    """Six clients that stop in the middle of a request, and four threads."""
    sent = _whole(body)[:40] if half == "head" else _whole(body)[:-10]
    with start_server(trained_store, web_concurrency=1, threads=4) as server, contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(server.raw()).sendall(sent)
        time.sleep(0.3)
        try:
            assert server.ask("GET", "/health", timeout=3) == (200, {"status": "ok"})
        except TimeoutError:
            pytest.fail("/health did not answer within 3 s")


# Processes


def test_no_control_socket_is_opened(server: Any) -> None:
    """By default Gunicorn makes one below the home folder, and fails on a read-only root."""
    own = {
        os.readlink(link)
        for pid in [server.process.pid, *server.workers()]
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink()
    }
    named = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    assert [entry for entry in named if len(entry) > 7 and f"socket:[{entry[6]}]" in own] == []


def test_log_is_json_from_the_first_line_to_the_last(server: Any, setosa: Any) -> None:
    server.ask("POST", "/predict", setosa, {"X-Request-ID": "in-the-log"})
    lines = server.log()
    assert [line["status"] for line in lines if line.get("request_id") == "in-the-log"] == [200]
    assert {line["model_version"] for line in lines if line["message"] == "model loaded"}
    assert not [line for line in lines if line["level"] == "critical"]


def test_it_starts_without_a_model_and_serves_the_first_one_that_appears(
    start_server: Any, trained_store: Path, tmp_path: Path, setosa: Any, eventually: Any
) -> None:
    with start_server(tmp_path / "store", ready="/health") as server:
        for method, path in (("GET", "/ready"), ("POST", "/predict")):
            status, problem = server.ask(method, path, setosa)
            assert (status, problem["status"]) == (503, 503)
            assert "train a model first" in problem["detail"]
        shutil.copytree(trained_store, tmp_path / "store")
        eventually(lambda: [line["message"] for line in server.log()].count("model loaded") == 2)
        assert {server.ask("POST", "/predict", setosa)[0] for _ in range(20)} == {200}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_PORT", "70000"),
        ("THREADS", "many"),
        ("MODEL_POLL_SECONDS", "-1"),
        ("LOG_FORMAT", "xml"),
        ("WEB_CONCURRENCY", "0"),
    ],
)
def test_an_invalid_setting_ends_it_with_one_sentence(
    repository: Path, gunicorn_command: list[str], gunicorn_environment: Callable[..., Any], name: str, value: str
) -> None:
    environment = gunicorn_environment(**{name: value})
    done = subprocess.run(gunicorn_command, cwd=repository, env=environment, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert len(said.splitlines()) == 1, said
    assert said.startswith(f"flask-api: {name}={value!r} cannot be used: ")


def test_a_killed_worker_is_replaced(start_server: Any, trained_store: Path, setosa: Any, eventually: Any) -> None:
    with start_server(trained_store) as server:
        before = server.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(set(server.workers()) - set(before)) == 2)
        eventually(server.answers)
        assert {server.ask("POST", "/predict", setosa)[0] for _ in range(20)} == {200}
        assert not set(server.workers()) & set(before)


@pytest.fixture
def stopping(start_server: Any, trained_store: Path) -> Iterator[Any]:
    with start_server(trained_store, graceful_timeout_seconds=10) as server:
        yield server


def test_a_request_that_is_half_sent_when_it_stops_is_answered(stopping: Any, body: bytes) -> None:
    whole = _whole(body)
    with stopping.raw() as connection:
        connection.sendall(whole[:-10])
        # Time for a worker to accept it and to read.
        time.sleep(0.5)
        stopping.process.terminate()
        time.sleep(0.5)
        connection.sendall(whole[-10:])
        assert _answer(connection)[0] == 200
    assert stopping.process.wait(timeout=20) == 0


def test_no_request_that_was_accepted_is_lost_when_it_stops(stopping: Any, setosa: Any) -> None:
    """Eight clients on kept connections, as Nginx has them, until each reads `Connection: close`."""
    answered: list[int] = []
    lost: list[str] = []
    under_way = threading.Semaphore(0)
    body = json.dumps(setosa)

    def ask() -> None:
        connection = stopping.connect()
        with contextlib.closing(connection):
            while True:
                try:
                    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException) as error:
                    lost.append(repr(error))
                    return
                answered.append(answer.status)
                under_way.release()
                if answer.headers.get("Connection") == "close":
                    return

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    for _ in range(100):
        assert under_way.acquire(timeout=30)
    stopping.process.terminate()
    assert stopping.process.wait(timeout=20) == 0
    for client in clients:
        client.join(timeout=30)
    assert lost == []
    assert set(answered) == {200}
    with pytest.raises(ConnectionRefusedError):
        stopping.raw()
