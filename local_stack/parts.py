"""The four parts: how each is started and when it is ready."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local_stack.addresses import Addresses
from local_stack.prepare import ROOT, make_certificates, provide_model, render_nginx

# Debian keeps Nginx where a user's PATH does not look.
SYSTEM_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin"

# The command lines; the working directory is the project's folder.
_GUNICORN = str(Path(sys.executable).parent / "gunicorn")
API_COMMAND = [_GUNICORN, "-c", "flask_app/gunicorn.conf.py", "flask_app.wsgi:app"]
UI_COMMAND = [sys.executable, "-m", "streamlit", "run", "streamlit_app/app.py"]
TRAINING_COMMAND = [_GUNICORN, "-c", "training_service/gunicorn.conf.py", "training_service.wsgi:app"]
# -e: Nginx opens the log of its build's default, which is root's, before it reads any configuration.
NGINX_COMMAND = ["nginx", "-e", "stderr", "-g", "daemon off;", "-c"]


@dataclass(frozen=True)
class Part:
    """One process; `ready_url` answers 200 as soon as it can work."""

    name: str
    command: list[str]
    ready_url: str
    env: dict[str, str]
    ca_cert: Path | None = None


def make_parts(addresses: Addresses, environ: Mapping[str, str], run_dir: Path) -> list[Part]:
    """Provide a model, certificates and Nginx's configuration where they are missing; return the parts.

    Raises:
        StartError: one of these steps failed.
    """
    # The API and Streamlit write their logs at once, not when a buffer is full.
    env = {**environ, "PYTHONUNBUFFERED": "1", "BIND_ADDRESS": addresses.bind_address}
    env["MODEL_STORE"] = str(Path(env.get("MODEL_STORE") or ROOT / "artifacts"))
    provide_model(env)
    names = environ.get("CERT_NAMES", "").split()
    if addresses.shown_host != "localhost":
        names.append(addresses.bind_address)
    hosts = environ.get("STREAMLIT_SERVER_ALLOWED_HOSTS") or " ".join(["localhost", "127.0.0.1", "::1", *names])
    env["STREAMLIT_SERVER_ALLOWED_HOSTS"] = hosts
    certs = run_dir / "certs"
    make_certificates(certs, names, env)
    nginx_env = {
        **env,
        "PATH": SYSTEM_PATH,
        "HTTPS_PORT": str(addresses.https_port),
        "HTTP_PORT": str(addresses.http_port),
        "API_UPSTREAM": f"{addresses.client_host}:{addresses.api_port}",
        "UI_UPSTREAM": f"{addresses.client_host}:{addresses.ui_port}",
        "UPSTREAM_RESOLVE": "off",
        "CERT_DIR": str(certs),
        "RUN_DIR": str(run_dir / "nginx"),
    }
    # Less than the supervisor's STOP_TIMEOUT_SECONDS.
    service_env = {"GRACEFUL_TIMEOUT_SECONDS": "4", **env}
    return [
        Part(
            name="flask-api",
            command=API_COMMAND,
            ready_url=f"{addresses.url(addresses.api_port)}/ready",
            env={**service_env, "API_PORT": str(addresses.api_port)},
        ),
        Part(
            name="streamlit-ui",
            command=UI_COMMAND,
            ready_url=f"{addresses.url(addresses.ui_port)}/_stcore/health",
            env={
                **env,
                "STREAMLIT_SERVER_ADDRESS": addresses.bind_address,
                "STREAMLIT_SERVER_PORT": str(addresses.ui_port),
                "API_BASE_URL": addresses.url(addresses.api_port),
                "TRAINING_API_URL": addresses.url(addresses.training_api_port),
            },
        ),
        Part(
            name="training-api",
            command=TRAINING_COMMAND,
            ready_url=f"{addresses.url(addresses.training_api_port)}/ready",
            env={
                **service_env,
                "TRAINING_API_PORT": str(addresses.training_api_port),
                "TRAINING_DIR": env.get("TRAINING_DIR") or str(run_dir / "training"),
                "ADMIN_TOKEN_FILE": str(admin_token_file(env, run_dir)),
            },
        ),
        Part(
            name="nginx-server",
            command=[*NGINX_COMMAND, render_nginx(nginx_env)],
            ready_url=f"{addresses.url(addresses.https_port, 'https')}/nginx-health",
            env=nginx_env,
            ca_cert=certs / "ca.crt",
        ),
    ]


def admin_token_file(environ: Mapping[str, str], run_dir: Path) -> Path:
    """Return the file that holds the training service's token; the service makes it at its first start."""
    return Path(environ.get("ADMIN_TOKEN_FILE") or run_dir / "admin-token")
