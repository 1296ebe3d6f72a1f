"""A training service that runs: a real Gunicorn on a free port, with a folder and a store of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from model_artifact.store import ArtifactStore
from tests.stacks import free_ports
from training_service.settings import TrainingServiceSettings

TOKEN = "a-token-that-nobody-guesses"
# Longer than any step here takes on a busy machine.
PATIENCE = 90
# Runs until it is stopped.
ENDLESS = {"data": "iris", "config": {"search": 10_000}}
QUICK = {"data": "iris", "config": {"folds": 0, "parameters": {"n_estimators": 5}}}


def eventually(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait until the condition holds; return its value."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


@dataclass
class Service:
    """A folder with a store and the service's files; the service can be restarted."""

    folder: Path
    repository: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.store = ArtifactStore(self.folder / "artifacts")
        self.log_file = self.folder / "log"
        self.token = TOKEN

    def environment(self, **settings: object) -> dict[str, str]:
        known = {name.upper() for name in TrainingServiceSettings.__struct_fields__} | {
            "GUNICORN_CMD_ARGS",
            "MLFLOW_TRACKING_URI",
        }
        inherited = {name: value for name, value in os.environ.items() if name not in known}
        own = {
            "ADMIN_TOKEN": TOKEN,
            "TRAINING_API_PORT": str(self.port),
            "TRAINING_DIR": str(self.folder / "training"),
            "MODEL_STORE": str(self.store.root),
        }
        return inherited | own | self.settings | {name.upper(): str(value) for name, value in settings.items()}

    def launch(self, **settings: object) -> subprocess.Popen[bytes]:
        """Start it without waiting."""
        command = [sys.executable, "-m", "gunicorn", "-c", "training_service/gunicorn.conf.py"]
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "training_service.wsgi:app"],
                cwd=self.repository,
                env=self.environment(**settings),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def start(self, **settings: object) -> "Service":
        """Start it and wait until it takes jobs."""
        self.launch(**settings)
        eventually(self.is_ready)
        return self

    def is_ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log_file.read_text()
        try:
            return self.ask("GET", "/ready", token=None).status_code == 200
        except requests.ConnectionError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Signal the service, as the end of a container does; jobs have their own process groups."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
        self.process.wait(30)

    def ask(self, method: str, path: str, token: str | None = "", **arguments: Any) -> requests.Response:
        """Send one request on its own connection, with the token unless another or None is given."""
        headers = dict(arguments.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, headers=headers, timeout=PATIENCE, **arguments)

    def train(self, asked: dict[str, Any]) -> str:
        """Start a training; return the job's id."""
        answer = self.ask("POST", "/train", json=asked)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def job(self, name: str) -> dict[str, Any]:
        answer = self.ask("GET", f"/jobs/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def end_of(self, name: str) -> dict[str, Any]:
        """Wait for the job's end; return the job."""
        return eventually(lambda: (job := self.job(name))["state"] not in ("queued", "running") and job)

    def reaches(self, name: str, stage: str) -> dict[str, Any]:
        """Wait until the job runs and is in the stage; return the job."""

        def look() -> dict[str, Any] | None:
            job = self.job(name)
            assert job["state"] in ("queued", "running"), job
            return job if job["stage"] == stage else None

        return eventually(look)

    def job_processes(self) -> list[int]:
        """Return the process ids of this service's jobs."""
        mark = f"MODEL_STORE={self.store.root}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if b"training_service.jobs.limited" not in (path / "cmdline").read_bytes():
                    continue
                # A zombie does not count.
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found.append(int(path.name))
        return found
