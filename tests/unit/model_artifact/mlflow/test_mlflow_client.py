"""Broken servers, and servers other than MLflow: each gives one sentence, within limits of time and size."""

import base64
import http.server
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from model_artifact.errors import RegistryError, RegistryNotFoundError
from model_artifact.mlflow.client import TrackingServer

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answer as the test demands, and keep the requests."""

    answer: Answer
    asked: list[Any]

    def do_GET(self) -> None:
        self.asked.append((self.path, dict(self.headers)))
        self.answer(self)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], tuple[str, list[Any]]]]:
    """Start a server on a free port; return its address and the list of its requests."""
    servers = []

    def start(answer: Answer) -> tuple[str, list[Any]]:
        asked: list[Any] = []
        handler = type("Handler", (Handler,), {"answer": staticmethod(answer), "asked": asked})
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def say(status: int, content: bytes = b"{}", length: int | None = None, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (say(200, b"<html>a login page</html>"), "does not answer as MLflow does: "),
        (say(200, b"\xff\xfe"), "does not answer as MLflow does: "),
        (say(200, b'{"a": 1}', length=100), "closed the connection: 92 bytes of the response are missing"),
        (say(502, b"<html>a proxy's page</html>"), "answered 502$"),
        (say(403, b"Invalid Host header"), "answered 403: Invalid Host header$"),
        (say(401, b""), "answered 401: set MLFLOW_TRACKING_USERNAME and"),
        (
            say(400, b'{"error_code": "X", "message": "two\\nlines \\u001b[31m"}'),
            r"answered 400: two lines \\x1b\[31m$",
        ),
        (say(404, b"<html>not here</html>"), "answered 404$"),
    ],
)
def test_a_wrong_answer_is_one_sentence(serve: Any, answer: Answer, reason: str) -> None:
    address, _ = serve(answer)
    with pytest.raises(RegistryError, match=reason) as caught:
        TrackingServer(address).get("x", dict)
    assert not isinstance(caught.value, RegistryNotFoundError)


def test_a_missing_model_is_distinguished_from_a_wrong_address(serve: Any) -> None:
    address, _ = serve(say(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"}'))
    with pytest.raises(RegistryNotFoundError, match="no such model"):
        TrackingServer(address).get("x", dict)


def test_credentials_do_not_follow_a_redirect(serve: Any) -> None:
    elsewhere, stolen = serve(say(200))
    address, asked = serve(say(302, Location=f"{elsewhere}/api"))
    for environ, sent in (
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
        ({"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p"}, "Basic dTpw"),
    ):
        with pytest.raises(RegistryError, match="answered 302"):
            TrackingServer.from_environ({"MLFLOW_TRACKING_URI": address, **environ}).get("x", dict)
        assert asked.pop()[1]["Authorization"] == sent
    named = address.replace("://", "://us%65r:pass%2Fword@")
    with pytest.raises(RegistryError) as caught:
        TrackingServer(named).get("x", dict)
    assert asked.pop()[1]["Authorization"] == "Basic " + base64.b64encode(b"user:pass/word").decode()
    assert "word" not in str(caught.value)
    assert stolen == []


def test_a_file_that_is_too_large_is_not_read(serve: Any, tmp_path: Path) -> None:
    address, _ = serve(say(200, b"x" * 1001))
    server = TrackingServer(address)
    server.download("a b/ü", tmp_path / "file", 1001, 10)
    assert (tmp_path / "file").stat().st_size == 1001
    with pytest.raises(RegistryError, match="a b/ü has more than the limit of 1000 bytes"):
        server.download("a b/ü", tmp_path / "file", 1000, 10)


def test_a_trickle_ends_in_time(serve: Any, tmp_path: Path) -> None:
    over = threading.Event()

    def trickle(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        while not over.wait(0.05):
            handler.wfile.write(b"x")

    address, _ = serve(trickle)
    with pytest.raises(RegistryError, match="is too slow: file did not arrive in time"):
        TrackingServer(address).download("file", tmp_path / "file", 1000, 0.3)
    over.set()


def test_silence_ends_in_time(serve: Any) -> None:
    over = threading.Event()
    address, _ = serve(lambda _: over.wait(20) and None)
    with pytest.raises(RegistryError, match="does not answer in time"):
        TrackingServer(address, timeout_seconds=0.2).get("x", dict)
    over.set()
