"""The four processes: how each is started and when it is ready."""

import os
import shlex
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local_stack.addresses import Addresses

ROOT = Path(__file__).resolve().parent.parent
PROBE_TIMEOUT_SECONDS = 2.0


class StartError(Exception):
    """Something that has to be there before the processes start is not; the message says what to do."""


@dataclass(frozen=True)
class Part:
    """One process; `ready_url` answers 200 as soon as it can work."""

    name: str
    command: list[str]
    ready_url: str
    env: dict[str, str] = field(default_factory=dict)
    ca_cert: Path | None = None

    @property
    def shell_command(self) -> str:
        """The command for a shell, which it replaces: a signal has to reach the process itself."""
        return f"exec {shlex.join(self.command)}"

    def not_ready(self) -> str | None:
        """Why the part is not ready yet, or None when it is."""
        context = ssl.create_default_context(cafile=str(self.ca_cert)) if self.ca_cert else None
        # The environment's proxy is for the world outside.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(self.ready_url, timeout=PROBE_TIMEOUT_SECONDS):
                return None
        except urllib.error.HTTPError as error:
            return error.read(2000).decode("utf-8", errors="replace") or f"status {error.code}"
        except OSError as error:
            return str(error)


def make_parts(addresses: Addresses, environ: Mapping[str, str], run_dir: Path) -> list[Part]:
    """Train, make certificates and render Nginx's configuration where that is still to do; then name the processes.

    Raises:
        StartError: one of these steps failed.
    """
    # The API and Streamlit write their logs at once, not when a buffer is full.
    env = {**environ, "PYTHONUNBUFFERED": "1", "BIND_ADDRESS": addresses.bind_address}
    store = Path(env.get("MODEL_STORE") or ROOT / "artifacts")
    env["MODEL_STORE"] = str(store)
    certs = run_dir / "certs"
    host = addresses.client_host
    training_url = f"http://{host}:{addresses.training_api_port}"
    if not (store / "current").exists():
        # Into the store alone: a model that only fills a gap here must not become champion of everybody's registry.
        first = [sys.executable, "-m", "model_training.train", "--store", str(store)]
        _step("train the first model", first, {**env, "MLFLOW_TRACKING_URI": ""})
    if env.get("MODEL_PUBLIC_KEY"):
        # Said now instead of after a minute of waiting: the API would refuse it.
        verify = [sys.executable, "-m", "model_training.store", "verify", "--store", str(store)]
        _step("use the current model", [*verify, (store / "current").read_text(encoding="utf-8").strip()], env)
    names = environ.get("CERT_NAMES", "").split()
    if addresses.shown_host != "localhost":
        names.append(addresses.bind_address)
    hosts = environ.get("STREAMLIT_SERVER_ALLOWED_HOSTS") or " ".join(["localhost", "127.0.0.1", "::1", *names])
    env["STREAMLIT_SERVER_ALLOWED_HOSTS"] = hosts
    _step("make certificates", ["sh", str(ROOT / "nginx/make-certs.sh"), str(certs), *names], env)
    nginx_env = {
        **env,
        "HTTPS_PORT": str(addresses.https_port),
        "HTTP_PORT": str(addresses.http_port),
        "API_UPSTREAM": f"{host}:{addresses.api_port}",
        "UI_UPSTREAM": f"{host}:{addresses.ui_port}",
        "UPSTREAM_RESOLVE": "off",
        "CERT_DIR": str(certs),
        "RUN_DIR": str(run_dir / "nginx"),
    }
    config = _step("render Nginx's configuration", ["sh", str(ROOT / "nginx/render.sh")], nginx_env).strip()
    bin_dir = Path(sys.executable).parent
    return [
        Part(
            name="flask-api",
            command=[str(bin_dir / "gunicorn"), "-c", "flask_app/gunicorn.conf.py", "flask_app.wsgi:app"],
            ready_url=f"http://{host}:{addresses.api_port}/ready",
            # Ctrl-C has to end everything within 10 s.
            env={"GRACEFUL_TIMEOUT_SECONDS": "4", **env, "API_PORT": str(addresses.api_port)},
        ),
        Part(
            name="streamlit-ui",
            command=[sys.executable, "-m", "streamlit", "run", "streamlit_app/app.py"],
            ready_url=f"http://{host}:{addresses.ui_port}/_stcore/health",
            env={
                **env,
                "STREAMLIT_SERVER_ADDRESS": addresses.bind_address,
                "STREAMLIT_SERVER_PORT": str(addresses.ui_port),
                "API_BASE_URL": f"http://{host}:{addresses.api_port}",
                "TRAINING_API_URL": training_url,
            },
        ),
        Part(
            name="training-api",
            command=[
                *(str(bin_dir / "gunicorn"), "-c", "training_service/gunicorn.conf.py"),
                "training_service.wsgi:app",
            ],
            ready_url=f"{training_url}/ready",
            env={
                "GRACEFUL_TIMEOUT_SECONDS": "4",
                **env,
                "TRAINING_API_PORT": str(addresses.training_api_port),
                "TRAINING_DIR": env.get("TRAINING_DIR") or str(run_dir / "training"),
                "ADMIN_TOKEN_FILE": str(admin_token_file(environ, run_dir)),
            },
        ),
        Part(
            name="nginx-server",
            # -e: the log of the build's default is root's, and Nginx opens it before it reads any configuration.
            command=["nginx", "-e", "stderr", "-c", config, "-g", "daemon off;"],
            ready_url=f"https://{host}:{addresses.https_port}/nginx-health",
            env={**nginx_env, "PATH": f"{env.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin"},
            ca_cert=certs / "ca.crt",
        ),
    ]


def admin_token_file(environ: Mapping[str, str], run_dir: Path) -> Path:
    """Where the training service has its token, and makes it at its first start."""
    return Path(environ.get("ADMIN_TOKEN_FILE") or run_dir / "admin-token")


def _step(what: str, command: list[str], env: Mapping[str, str]) -> str:
    """Run a command to its end, its messages shown; returns what it printed on standard output."""
    done = subprocess.run(command, cwd=ROOT, env=dict(env), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise StartError(f"Could not {what} (see above).")
    return done.stdout
