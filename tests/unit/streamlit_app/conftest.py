"""A stub of the API on the loopback, whose answers a test can set."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import requests
import streamlit as st
from pyarrow import csv
from streamlit.testing.v1 import AppTest

from tests.stacks import free_ports

UI = Path(__file__).resolve().parents[3] / "streamlit_app"


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
    """The answers of the API, which a test can change, and the requests it received."""

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
        return [request.body for request in self.requests if request.path in ("/predict", "/explain")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A test that makes the server wait does not keep it from stopping.
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
        is_json = self.headers.get("Content-Type", "application/json") == "application/json"
        body = json.loads(raw or b"null") if is_json else raw
        self.path, _, query = self.path.partition("?")
        assert query == ("" if is_json else "on_error=keep")
        request = Request(self.command, self.path, dict(self.headers), body, self.client_address)
        self.api.requests.append(request)
        reply = self.api.replies.get(self.path)
        if reply:
            reply(self)
        elif self.path == "/model":
            self.send_json(200, self.api.card)
        elif self.path == "/ready":
            self.send_json(200, {"status": "ready", "model_version": self.api.card["model_version"]})
        elif isinstance(request.body, bytes):
            self.send_scored(request.body)
        else:
            self.send_json(200, self.prediction(request.body))

    def prediction(self, row: dict[str, float]) -> dict[str, Any]:
        names = [feature["name"] for feature in self.api.card["features"]]
        classes = self.api.card["classes"]
        assert list(row) == names
        explained = self.path == "/explain"
        chosen = int(abs(row[names[0]])) % len(classes)
        shares = [0.1 / max(1, len(classes) - 1)] * len(classes)
        shares[chosen] = 0.9
        return {
            "prediction": chosen,
            "class_name": classes[chosen],
            "probabilities": dict(zip(classes, shares, strict=True)),
            "model_version": self.api.card["model_version"],
            "request_id": self.headers["X-Request-ID"],
        } | ({"contributions": {name: dict.fromkeys(names, 0.5) for name in classes}} if explained else {})

    def read_table(self, body: bytes) -> pa.Table:
        is_csv = self.headers["Content-Type"] == "text/csv"
        return csv.read_csv(io.BytesIO(body)) if is_csv else pa.ipc.open_stream(body).read_all()

    def send_scored(self, body: bytes, version: str = "") -> None:
        self.send_bytes(200, self.scored(body), "application/vnd.apache.arrow.stream", version)

    def scored(self, body: bytes) -> bytes:
        """Return the first class for every row."""
        table = self.read_table(body)
        classes, rows = self.api.card["classes"], table.num_rows
        table = table.append_column("prediction", pa.array([0] * rows, pa.int64()))
        table = table.append_column("class_name", pa.array([classes[0]] * rows, pa.string()))
        for index, name in enumerate(classes):
            table = table.append_column(f"probability_{name}", pa.array([0.6 if index == 0 else 0.2] * rows))
        table = table.append_column("error", pa.nulls(rows, pa.string()))
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()

    def send_json(self, status: int, body: Any, content_type: str = "application/json") -> None:
        self.send_bytes(status, json.dumps(body).encode(), content_type)

    def send_bytes(self, status: int, raw: bytes, content_type: str, version: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Model-Version", version or self.api.card["model_version"])
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
            # Otherwise kept-alive connections would still be served.
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


Opener = Callable[..., AppTest]


@pytest.fixture
def open_page(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """Open a page as a new visitor with the given query; `base_url` names another API than the stub."""
    from streamlit_app.components import service

    st.cache_data.clear()

    def open_page(page: str = "predict", base_url: str = "", **query: str) -> AppTest:
        monkeypatch.setenv("API_BASE_URL", base_url or api.url)
        at = AppTest.from_file(UI / "app.py", default_timeout=30)
        for name, value in query.items():
            at.query_params[name] = value
        if page != "predict":
            # The entry names the pages, which `switch_page` needs.
            at.run()
            at.switch_page(f"{page}/page.py")
        return at.run()

    yield open_page
    service.client().close()
    st.cache_resource.clear()
    st.cache_data.clear()


@contextlib.contextmanager
def _serve(store: Path, log: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    env = {**os.environ, "MODEL_STORE": str(store), "API_PORT": str(port), "WEB_CONCURRENCY": "1"}
    with log.open("wb") as output:
        command = [sys.executable, "-m", "gunicorn", "-c", "flask_app/gunicorn.conf.py", "flask_app.wsgi:app"]
        process = subprocess.Popen(command, cwd=UI.parent, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        for _ in range(300):
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"http://127.0.0.1:{port}/ready", timeout=5).ok:
                    break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def real_api(trained_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the API itself, with a small model of Iris."""
    with _serve(trained_store, tmp_path_factory.mktemp("api") / "log") as url:
        yield url


@pytest.fixture(scope="session")
def digits_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API with a model of another kind: 64 whole numbers without units, ten classes."""
    import numpy as np
    from sklearn.datasets import load_digits

    from model_artifact.store import ArtifactStore
    from model_training.data.datasets import Column, Dataset
    from model_training.model import IrisModel
    from model_training.training import train_version

    bunch, folder = load_digits(), tmp_path_factory.mktemp("digits")
    data = Dataset(
        name="digits",
        columns=tuple(Column(name, None, "integer") for name in bunch.feature_names),
        classes=tuple(f"digit {number}" for number in range(10)),
        X=np.asarray(bunch.data, dtype=np.float64),
        y=np.asarray(bunch.target, dtype=np.int64),
    )
    train_version(data, lambda: IrisModel(n_estimators=3), ArtifactStore(folder / "store"), test_size=0.2, seed=42)
    with _serve(folder / "store", folder / "log") as url:
        yield url
