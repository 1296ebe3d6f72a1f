"""A real Nginx with the rendered configuration, in front of stub upstreams that record their requests."""

import http.client
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.stacks import free_ports

NGINX_DIR = Path(__file__).resolve().parents[3] / "nginx"
PATH = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"


@dataclass
class Received:
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    port: int = 0
    """The client's port, which distinguishes connections."""


class Upstream:
    """A stub server. `answer` takes a Received and returns (status, headers, body), or None to cut the connection."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answer: Callable[[Received], tuple[int, dict[str, str], bytes] | None] = lambda _: (200, {}, b"stub")
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One write for head and body: two would wait for each other (Nagle, delayed ACK).
            wbufsize = 65536

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                received = Received(self.command, self.path, self.headers.items(), body, self.client_address[1])
                upstream.received.append(received)
                answer = upstream.answer(received)
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, content = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_HEAD = do_PUT = handle_one  # noqa: N815 # names of the standard library

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            # Not 5: a connection above that would wait for a second.
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Edge:
    """A running Nginx."""

    https_port: int
    http_port: int
    run_dir: Path
    context: ssl.SSLContext
    process: subprocess.Popen
    api: Upstream
    ui: Upstream
    access_log: Path

    def send(self, path: str, method: str = "GET", headers: tuple[tuple[str, str], ...] = (), body: bytes = b""):
        """Send one request with the path as given; return the http.client response, read to its end."""
        connection = http.client.HTTPSConnection("localhost", self.https_port, context=self.context, timeout=20)
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        response.content = response.read()
        connection.close()
        return response

    def stop(self) -> list[str]:
        """Stop Nginx; return the lines of the access log."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)
        return self.access_log.read_text().splitlines()


def free_port() -> int:
    [port] = free_ports(1)
    return port


def configuration(rendered: subprocess.CompletedProcess) -> str:
    """Return the text of nginx.conf and of every file that it includes."""
    assert rendered.returncode == 0, rendered.stderr
    main = Path(rendered.stdout.strip())
    return "".join(path.read_text() for path in [main, *sorted((main.parent / "conf.d").iterdir())])


@pytest.fixture(scope="session")
def nginx_binary() -> str:
    binary = shutil.which("nginx", path=PATH)
    if not binary:
        pytest.skip("nginx is missing: apt install nginx-light")
    return binary


@pytest.fixture(scope="session")
def certs(tmp_path_factory) -> Path:
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing: apt install openssl")
    folder = tmp_path_factory.mktemp("nginx") / "certs"
    subprocess.run(["sh", NGINX_DIR / "make-certs.sh", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def render(tmp_path, certs) -> Callable[..., subprocess.CompletedProcess]:
    """Run render.sh with only the given variables."""

    def run(path: str = PATH, **variables: object) -> subprocess.CompletedProcess:
        environment = {"PATH": path, "CERT_DIR": str(certs), "RUN_DIR": str(tmp_path / "run")}
        environment |= {name: str(value) for name, value in variables.items()}
        return subprocess.run(
            ["sh", NGINX_DIR / "render.sh"], env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def start(nginx_binary, render, certs, tmp_path) -> Iterator[Callable[..., Edge]]:
    """Start Nginx in front of two stubs, with more variables for render.sh."""
    started: list[Edge] = []

    def run(**variables: object) -> Edge:
        api, ui = Upstream(), Upstream()
        ports = {"HTTPS_PORT": free_port(), "HTTP_PORT": free_port()}
        defaults = {
            "BIND_ADDRESS": "127.0.0.1",
            "API_UPSTREAM": f"127.0.0.1:{api.port}",
            "UI_UPSTREAM": f"127.0.0.1:{ui.port}",
            "NGINX_WORKERS": 1,
        }
        rendered = render(**(defaults | ports | variables))
        assert rendered.returncode == 0, rendered.stderr
        access_log, error_log = tmp_path / "access.log", tmp_path / "error.log"
        with access_log.open("wb") as out, error_log.open("wb") as errors:
            process = subprocess.Popen(
                [nginx_binary, "-e", "stderr", "-c", rendered.stdout.strip(), "-g", "daemon off;"],
                stdout=out,
                stderr=errors,
            )
        edge = Edge(
            ports["HTTPS_PORT"],
            ports["HTTP_PORT"],
            tmp_path / "run",
            ssl.create_default_context(cafile=str(certs / "ca.crt")),
            process,
            api,
            ui,
            access_log,
        )
        started.append(edge)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", edge.http_port), timeout=1).close()
                return edge
            except OSError:
                assert process.poll() is None, error_log.read_text()
                assert time.monotonic() < deadline, "Nginx does not listen"
                time.sleep(0.05)

    yield run
    for edge in started:
        edge.stop()
        edge.api.stop()
        edge.ui.stop()
