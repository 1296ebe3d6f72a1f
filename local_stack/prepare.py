"""What the parts need before they start: a model, certificates, Nginx's configuration."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_stack.terminal import StartError

ROOT = Path(__file__).resolve().parent.parent


def provide_model(env: Mapping[str, str]) -> None:
    """Train a first model where MODEL_STORE has none; verify the current one where models must be signed.

    Raises:
        StartError: there is no model that the API could serve.
    """
    current = Path(env["MODEL_STORE"]) / "current"
    store = ["--store", env["MODEL_STORE"]]
    if not current.exists():
        # No registry: a model that only fills an empty store must not become everybody's champion.
        train = [sys.executable, "-m", "model_training.train", *store]
        _run("train the first model", train, {**env, "MLFLOW_TRACKING_URI": ""})
    if env.get("MODEL_PUBLIC_KEY"):
        # The API would reject it as well, but only after the user has waited for READY_TIMEOUT_SECONDS.
        verify = [sys.executable, "-m", "model_training.store", "verify", *store]
        _run("use the current model", [*verify, current.read_text(encoding="utf-8").strip()], env)


def make_certificates(folder: Path, names: Sequence[str], env: Mapping[str, str]) -> None:
    """Make an authority and a certificate for the names in the folder; valid ones are kept.

    Raises:
        StartError: they cannot be made.
    """
    _run("make certificates", ["sh", str(ROOT / "nginx/make-certs.sh"), str(folder), *names], env)


def render_nginx(env: Mapping[str, str]) -> str:
    """Render Nginx's configuration; return its path.

    Raises:
        StartError: a variable is not valid.
    """
    return _run("render Nginx's configuration", ["sh", str(ROOT / "nginx/render.sh")], env).strip()


def _run(what: str, command: Sequence[str], env: Mapping[str, str]) -> str:
    """Run a command to its end, with its messages on the terminal; return its standard output."""
    done = subprocess.run(command, cwd=ROOT, env=dict(env), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise StartError(f"Could not {what} (see above).")
    return done.stdout
