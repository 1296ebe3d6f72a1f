"""The command `tabular`: one name for what the packages do."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

USAGE = """\
usage: tabular COMMAND [OPTION ...]

  train     train a model from a table, and promote it if it passes the gate
  check     read a table and report what would hinder training from it
  store     list, verify, activate and roll back the versions of a model
  keys      make and use the keys that sign versions, and API keys
  serve     start the prediction API

`tabular COMMAND --help` lists the options of a command.
"""
SERVE_USAGE = """\
usage: tabular serve

Start the prediction API. Environment variables hold its settings, among them:

  MODEL_STORE        folder of the artifact store (default: artifacts)
  BIND_ADDRESS       address to listen on (default: 127.0.0.1)
  API_PORT           port to listen on (default: 5000)
  WEB_CONCURRENCY    worker processes, one a core (default: 2)

The README lists all.
"""
ROOT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status, 2 for a command that does not exist."""
    try:
        status = _run(argv)
        # Here, where an error can be handled; Python would otherwise flush when it exits.
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of stdout has closed it, and Python would report the same error again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        # Between the parts that handle it themselves, such as during the imports of a command.
        sys.stderr.write("tabular: stopped\n")
        return 130


def _run(argv: Sequence[str] | None) -> int:
    name, *arguments = (sys.argv[1:] if argv is None else list(argv)) or ["--help"]
    if name in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    if name not in COMMANDS:
        sys.stderr.write(f"tabular: there is no command {name!r}; choose one of {', '.join(COMMANDS)}.\n")
        return 2
    package, run = COMMANDS[name]
    if importlib.util.find_spec(package) is None:
        extra = EXTRAS[package]
        sys.stderr.write(f"tabular {name} needs the extra {extra!r}; run: pip install '.[{extra}]'\n")
        return 1
    return run(arguments)


def _main_of(module: str, *more: str) -> Callable[[list[str]], int]:
    """Return a function that imports the module and runs its `main` with the arguments and `more`."""

    def run(arguments: list[str]) -> int:
        status: int = importlib.import_module(module).main([*arguments, *more])
        return status

    return run


def _serve(arguments: list[str]) -> int:  # noqa: RET503 (execv does not return)
    """Run Gunicorn in place of this process."""
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(SERVE_USAGE)
        return 0
    if arguments:
        sys.stderr.write(f"tabular serve: {arguments[0]!r} is not an option; set environment variables instead.\n")
        return 2
    configuration = str(ROOT / "flask_app" / "gunicorn.conf.py")
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", configuration, "flask_app.wsgi:app"]
    os.execv(sys.executable, gunicorn)  # noqa: S606 (no shell is wanted)


COMMANDS: dict[str, tuple[str, Callable[[list[str]], int]]] = {
    "train": ("sklearn", _main_of("model_training.train")),
    "check": ("sklearn", _main_of("model_training.train", "--check")),
    "store": ("numpy", _main_of("model_artifact.commands.store")),
    "keys": ("cryptography", _main_of("tabular.keys")),
    "serve": ("gunicorn", _serve),
}
# The extra of pyproject.toml that brings a package.
EXTRAS = {"sklearn": "training", "gunicorn": "api"}

if __name__ == "__main__":
    sys.exit(main())
