"""The API as an application for Werkzeug's test client, and as a real Gunicorn on a free port."""

import contextlib
import http.client
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_app.application import create_app
from flask_app.settings import ApiSettings
from http_service.logs import JsonFormatter
from tests.stacks import free_ports
from tests.unit.flask_app.conformance import check

POLL_SECONDS = 0.05
MAX_BODY_BYTES = 4_194_304
SETOSA = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}

# Longer than any step here takes on a busy machine.
PATIENCE = 30


def _eventually(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """Wait until a condition holds, and fail if it never does."""
    return _eventually


@pytest.fixture(scope="session")
def setosa() -> dict[str, float]:
    """The first row of Iris."""
    return SETOSA


@pytest.fixture
def make_app() -> Iterator[Callable[..., Flask]]:
    """Make an application: make_app(store_folder, max_body_bytes=...)."""
    apps = []

    def make(model_store: Path, **settings: Any) -> Flask:
        values = {"model_poll_seconds": POLL_SECONDS, **settings}
        apps.append(create_app(ApiSettings(model_store=str(model_store), **values)))
        return apps[-1]

    yield make
    for app in apps:
        app.extensions["model_holder"].stop()


@pytest.fixture(scope="session", autouse=True)
def _every_answer_is_as_documented() -> Iterator[None]:
    """Validate every answer of a test client against the OpenAPI document."""
    ask = FlaskClient.open

    def ask_and_check(client: FlaskClient, *arguments: Any, **options: Any) -> Any:
        response = ask(client, *arguments, **options)
        # Other packages' applications have no document.
        if "model_holder" in client.application.extensions:
            check(client.application, response)
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlaskClient, "open", ask_and_check)
        yield


@pytest.fixture(scope="module")
def client(trained_store: Path) -> Iterator[FlaskClient]:
    """A client of an application that a module shares, with the session's model."""
    app = create_app(ApiSettings(model_store=str(trained_store), max_body_bytes=MAX_BODY_BYTES))
    yield app.test_client()
    app.extensions["model_holder"].stop()


@dataclass
class Log:
    """The log since the test began, as the API's own formatter writes it."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    def lines(self, message: str | None = None) -> list[dict[str, Any]]:
        """Return each line as JSON; an invalid line fails the test."""
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if message is None or line["message"] == message]


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    handler = logging.StreamHandler(log.stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield log
    root.setLevel(before)
    root.removeHandler(handler)


@dataclass
class Server:
    """A running Gunicorn."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path

    def connect(self, timeout: float = PATIENCE) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def raw(self, timeout: float = PATIENCE) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, timeout: float = PATIENCE
    ) -> tuple[int, Any]:
        """Send one request on its own connection; return status and JSON of the answer."""
        with contextlib.closing(self.connect(timeout)) as connection:
            raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, raw, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")

    def log(self) -> list[dict[str, Any]]:
        """Return each line of the log as JSON; an invalid line fails the test."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def workers(self) -> list[int]:
        """Return the process ids of the running workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def answers(self, path: str = "/ready") -> bool:
        assert self.process.poll() is None, self.log_file.read_text()
        try:
            return self.ask("GET", path)[0] == 200
        except OSError:
            return False


@pytest.fixture(scope="session")
def gunicorn_environment() -> Callable[..., dict[str, str]]:
    """Return this environment with only the given settings of the API."""

    def environment(**settings: object) -> dict[str, str]:
        known = {name.upper() for name in ApiSettings.__struct_fields__} | {"GUNICORN_CMD_ARGS"}
        inherited = {name: value for name, value in os.environ.items() if name not in known}
        return inherited | {name.upper(): str(value) for name, value in settings.items()}

    return environment


@pytest.fixture(scope="session")
def gunicorn_command() -> list[str]:
    """Return the command of the images and of `make run`."""
    return [sys.executable, "-m", "gunicorn", "-c", "flask_app/gunicorn.conf.py", "flask_app.wsgi:app"]


@pytest.fixture(scope="session")
def start_server(
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
    gunicorn_command: list[str],
    gunicorn_environment: Callable[..., dict[str, str]],
) -> Iterator[Callable[..., contextlib.AbstractContextManager[Server]]]:
    """Run Gunicorn until the block ends: with start_server(store_folder, threads=4) as server."""

    @contextlib.contextmanager
    def start(model_store: Path, ready: str = "/ready", **settings: object) -> Iterator[Server]:
        [port] = free_ports(1)
        values = {"model_store": model_store, "api_port": port, "model_poll_seconds": POLL_SECONDS, **settings}
        log_file = tmp_path_factory.mktemp("gunicorn") / "log"
        with log_file.open("wb") as output:
            process = subprocess.Popen(
                gunicorn_command,
                cwd=repository,
                env=gunicorn_environment(**values),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = Server(process, port, log_file)
        try:
            _eventually(lambda: server.answers(ready))
            yield server
        finally:
            # The whole group: a worker must not outlive a master that was killed.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    yield start


@pytest.fixture(scope="session", params=["on", "off"], ids=["fast-path", "flask-alone"])
def server(start_server: Callable[..., Any], trained_store: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A Gunicorn with two workers, with and without the fast path; tests must not change its state."""
    with start_server(trained_store, max_body_bytes=MAX_BODY_BYTES, fast_lane=request.param) as server:
        yield server
