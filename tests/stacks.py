"""Start and stop the system in the ways it can run on one machine, on ports that are free."""

import contextlib
import json
import os
import queue
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

ROOT = Path(__file__).resolve().parent.parent
READY_LINE = "everything is ready"
# The addresses where a container answers once it is ready.
READY_URLS = {
    "flask-api": "http://{}:5000/ready",
    "flask-api-canary": "http://{}:5000/ready",
    "flask-api-shadow": "http://{}:5000/ready",
    "training-api": "http://{}:5001/ready",
    "mlflow-server": "http://{}:5002/health",
    "streamlit-ui": "http://{}:8501/_stcore/health",
    "nginx-server": "http://{}:8080/",
}


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, below those that the kernel gives to outgoing connections at any time."""
    ports: list[int] = []
    while len(ports) < count:
        # A seeded generator would give the same ports to every worker of pytest.
        port = random.SystemRandom().randrange(10240, 20000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports += [port] if port not in ports else []
    return ports


def free_port_range(length: int) -> str:
    """Return a range of free ports in Compose's notation, below the kernel's range for outgoing connections."""
    for _ in range(100):
        first = random.randrange(20000, 32000 - length)
        with contextlib.ExitStack() as probes:
            try:
                for port in range(first, first + length):
                    probes.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return f"{first}-{first + length - 1}"
    raise AssertionError(f"no {length} free ports in a row between 20000 and 32000")


class ProcessStack:
    """`python -m local_stack`, the last command of `make run`."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        https, http, api, ui, training = free_ports(5)
        self.base_url = f"https://localhost:{https}"
        self.http_url = f"http://localhost:{http}"
        self.api_url = f"http://localhost:{api}"
        self.ui_url = f"http://localhost:{ui}"
        self.training_url = f"http://localhost:{training}"
        self.ca_cert = str(folder / "run" / "certs" / "ca.crt")
        self.store = folder / "artifacts"
        self.log_folder = Path(environ.get("RUN_DIR", folder / "run")) / "logs"
        self.admin_token_file = folder / "run" / "admin-token"
        self.env = {
            **os.environ,
            "HTTPS_PORT": str(https),
            "HTTP_PORT": str(http),
            "API_PORT": str(api),
            "UI_PORT": str(ui),
            "TRAINING_API_PORT": str(training),
            "RUN_DIR": str(folder / "run"),
            "MODEL_STORE": str(self.store),
            **environ,
        }
        self.lines: list[str] = []
        self._fresh: queue.Queue[str | None] = queue.Queue()
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start without waiting."""
        # A session of its own, so that Ctrl-C reaches only the test run.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local_stack"],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def wait_for(self, text: str, seconds: float = 90.0) -> str:
        """Return the first new line of its own output that contains the text; log files are read with `log`."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._fresh.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                output = "".join(self.lines[-60:] + self.logs().splitlines(keepends=True)[-60:])
                raise AssertionError(f"no line with {text!r} within {seconds} s; the end of output and logs:\n{output}")
            if text in line:
                return line

    def log(self, name: str) -> str:
        """Return what a part has logged so far."""
        return (self.log_folder / f"{name}.log").read_text()

    def logs(self) -> str:
        """Return what all parts have logged so far."""
        return "".join(path.read_text() for path in sorted(self.log_folder.glob("*.log")))

    def wait_until_served(self, version: str, seconds: float = 60.0) -> None:
        """Wait until every worker of the API serves the version; workers switch at different times."""
        deadline = time.monotonic() + seconds
        agreed = 0
        while agreed < 20:
            assert time.monotonic() < deadline, f"not every worker serves {version}"
            with urllib.request.urlopen(f"{self.api_url}/ready", timeout=10) as answer:
                agreed = agreed + 1 if json.load(answer)["model_version"] == version else 0
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGINT, seconds: float = 30.0) -> int:
        """Signal the supervisor alone; return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait(seconds)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait until it ends by itself; return its exit status, with all of its own output in `lines`."""
        assert self.process is not None
        status = self.process.wait(seconds)
        self._reader.join(5)
        return status

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_for(READY_LINE)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: TracebackType | object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def _read(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)
                self._fresh.put(line)
        self._fresh.put(None)


class ComposeStack:
    """`docker compose up --build` as a project of its own; docker-compose 1.29 where there is no newer one."""

    def __init__(self, folder: Path, **environ: str) -> None:
        https, http, training = free_ports(3)
        self.project = f"iris-test-{uuid.uuid4().hex[:8]}"
        self.base_url = f"https://localhost:{https}"
        self.http_url = f"http://localhost:{http}"
        self.training_url = f"http://localhost:{training}"
        self.ca_cert = str(folder / "ca.crt")
        self.env = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.project,
            "HTTPS_PORT": str(https),
            "HTTP_PORT": str(http),
            "API_PORTS": free_port_range(10),
            "UI_PORTS": free_port_range(10),
            "TRAINING_API_PORT": str(training),
            **environ,
        }
        self.api_url = ""

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `docker compose ARGUMENTS` for this project; a failure shows its output."""
        done = subprocess.run(
            [*compose_command(), *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"compose {' '.join(arguments)}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        return done

    def containers(self, *service: str) -> list[str]:
        """Return the ids of the containers of a service, or of all services."""
        # docker-compose 1.29 needs a second for the same answer.
        labels = [f"project={self.project}", *(f"service={name}" for name in service)]
        filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        return _docker("ps", "-aq", "--no-trunc", *filters).split()

    def __enter__(self) -> Self:
        require_docker()
        try:
            self.run("up", "--build", "-d")
            self.wait_until_healthy()
            nginx = self.containers("nginx-server")[0]
            subprocess.run(["docker", "cp", f"{nginx}:/certs/ca.crt", self.ca_cert], check=True, capture_output=True)
            api = self.run("port", "flask-api", "5000").stdout.strip()
            self.api_url = f"http://{api}"
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_healthy(self, seconds: float = 120.0) -> None:
        """Wait until every container is healthy or has ended without an error."""
        health = "{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}"
        self._wait_for_each(health, lambda state: state in ("healthy", "exited 0"), seconds)

    def wait_until_ready(self, seconds: float = 120.0) -> None:
        """Wait until every container answers; Docker's own checks come 5 s later."""
        # Elsewhere Docker runs in a virtual machine, whose addresses cannot be reached.
        if sys.platform != "linux":
            return self.wait_until_healthy(seconds)
        service = '{{index .Config.Labels "com.docker.compose.service"}}'
        where = "{{.State.Status}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}} " + service
        return self._wait_for_each(where, _answers, seconds)

    def _wait_for_each(self, template: str, is_good: Callable[[str], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        ended = "exited {{.State.ExitCode}}"
        template = '{{if eq .State.Status "exited"}}' + ended + "{{else}}" + template + "{{end}}"
        while True:
            states = _docker("inspect", "--format", template, *self.containers(), check=False).splitlines()
            if states and all(map(is_good, states)):
                return
            if time.monotonic() > deadline:
                logs = self.run("logs", "--tail", "30", check=False).stdout
                raise AssertionError(f"not healthy within {seconds} s:\n{states}\n{logs}")
            time.sleep(0.2)

    def __exit__(self, *_: TracebackType | object) -> None:
        self.run("down", "--volumes", "--timeout", "20", "--remove-orphans", check=False)


def _docker(*arguments: str, check: bool = True) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check).stdout


def _answers(state: str) -> bool:
    """Return whether a container, as `wait_until_ready` describes it, can work or has ended without error."""
    if state == "exited 0":
        return True
    status, address, service = [*state.split(), "", ""][:3]
    if status != "running" or service not in READY_URLS:
        return False
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(READY_URLS[service].format(address), timeout=2):
            return True
    except urllib.error.HTTPError as error:
        with error:
            return error.code < 500
    except OSError:
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Leave the answer as it is."""


def compose_command() -> list[str]:
    """Return the command of Compose v2 if Docker has it, else of 1.29."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"]


def require_docker() -> None:
    """Skip where Docker or Compose is missing; the reason contains the command that installs it."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers: apt install docker.io docker-compose, and start it")
    if compose_command() == ["docker-compose"] and not shutil.which("docker-compose"):
        pytest.skip("Docker Compose is missing: apt install docker-compose")
