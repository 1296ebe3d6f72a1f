"""A little API on the loopback that answers what a test tells it to."""

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

UI = Path(__file__).resolve().parents[3] / "streamlit_app"
# As `streamlit run` does it: the UI's modules import each other by their bare names.
sys.path.insert(0, str(UI))


def _feature(name: str, minimum: float, maximum: float, median: float, **rest: Any) -> dict[str, Any]:
    quantiles = {"0.05": minimum, "0.25": minimum, "0.5": median, "0.75": maximum, "0.95": maximum}
    return {"name": name, "dtype": "float", "minimum": minimum, "maximum": maximum, "quantiles": quantiles} | rest


def _wine_card() -> dict[str, Any]:
    return {
        "card_format": 1,
        "model_name": "wine_quality",
        "model_version": "20261121-073107-3f2a9c1d",
        "features": [
            _feature("alcohol", 11.0, 14.8, 13.05, unit="% vol"),
            _feature("ash", 1.36, 3.23, 2.36, unit="g/l"),
            _feature("bottles", 3, 47, 12, dtype="int64"),
        ],
        "classes": ["barolo", "grignolino", "barbera"],
    }


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    client: tuple[str, int]


Reply = Callable[["Handler"], None]


@dataclass
class FakeApi:
    """What the API answers, to be changed by a test, and what it was asked."""

    port: int = 0
    card: dict[str, Any] = field(default_factory=_wine_card)
    replies: dict[str, Reply] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    # One entry of a card's features.
    feature = staticmethod(_feature)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def predictions(self) -> list[Any]:
        return [request.body for request in self.requests if request.path == "/predict"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # So that a test which makes the server wait does not keep it from stopping.
    timeout = 5
    api: FakeApi
    connections: set[socket.socket]

    def setup(self) -> None:
        super().setup()
        self.connections.add(self.connection)

    def finish(self) -> None:
        self.connections.discard(self.connection)
        super().finish()

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.command, self.path, dict(self.headers), json.loads(raw or b"null"), self.client_address)
        self.api.requests.append(request)
        reply = self.api.replies.get(self.path)
        if reply:
            reply(self)
        elif self.path == "/model":
            self.send_json(200, self.api.card)
        else:
            self.send_json(200, self.prediction(request.body))

    def prediction(self, row: dict[str, float]) -> dict[str, Any]:
        names = [feature["name"] for feature in self.api.card["features"]]
        classes = self.api.card["classes"]
        assert list(row) == names
        chosen = int(abs(row[names[0]])) % len(classes)
        shares = [0.1 / max(1, len(classes) - 1)] * len(classes)
        shares[chosen] = 0.9
        return {
            "prediction": chosen,
            "class_name": classes[chosen],
            "probabilities": dict(zip(classes, shares, strict=True)),
            "model_version": self.api.card["model_version"],
            "request_id": self.headers["X-Request-ID"],
        }

    def send_json(self, status: int, body: Any, content_type: str = "application/json") -> None:
        self.send_bytes(status, json.dumps(body).encode(), content_type)

    def send_bytes(self, status: int, raw: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(raw)))
        if request_id := self.headers.get("X-Request-ID"):
            self.send_header("X-Request-ID", request_id)
        self.end_headers()
        self.wfile.write(raw)

    def send_problem(self, status: int, detail: str, *errors: tuple[str, str]) -> None:
        fields = [{"field": name, "message": message} for name, message in errors]
        body = {"type": "about:blank", "title": "x", "status": status, "detail": detail, "error": detail}
        self.send_json(status, body | {"request_id": "r", "errors": fields}, "application/problem+json")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Running:
    """A server thread for one FakeApi, which can be stopped and started again on the same port."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.server: Server | None = None

    def start(self) -> None:
        self.connections: set[socket.socket] = set()
        handler = type("BoundHandler", (Handler,), {"api": self.api, "connections": self.connections})
        self.server = Server(("127.0.0.1", self.api.port), handler)
        self.api.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            # Else kept-alive connections would go on being served.
            for connection in list(self.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self.server = None


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running(FakeApi())
    running.start()
    yield running
    running.stop()


@pytest.fixture
def api(running: Running) -> FakeApi:
    return running.api
