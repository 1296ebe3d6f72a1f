"""The patches of Gunicorn: the tested versions alone start, and each service applies the whole list."""

import subprocess
import sys
from pathlib import Path

import gunicorn
import pytest

from http_service.gunicorn import patches

SERVICES = {"flask_app": "flask-api", "training_service": "training-api"}


def _run(program: str, repository: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "ADMIN_TOKEN": "a-token-that-nobody-guesses",
        "TRAINING_DIR": str(folder),
        "MODEL_STORE": str(folder),
    }
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)


def test_the_installed_version_was_tested() -> None:
    patches.check_version()


@pytest.mark.parametrize("package", SERVICES)
def test_another_version_ends_the_start_with_one_sentence(package: str, repository: Path, tmp_path: Path) -> None:
    program = f"import gunicorn, runpy; gunicorn.__version__ = '99.1'; runpy.run_path('{package}/gunicorn.conf.py')"
    done = _run(program, repository, tmp_path)
    assert done.returncode != 0
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith(f"{SERVICES[package]}: Gunicorn 99.1 was not tested with this service")
    assert f"pip install gunicorn=={gunicorn.__version__}" in line


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        ("flask_app", "ApiResponse ApiUnreader TimedConnection write_problem"),
        ("training_service", "OneWriteResponse TimedUnreader TimedConnection write_problem"),
    ],
)
def test_each_service_applies_every_patch(package: str, expected: str, repository: Path, tmp_path: Path) -> None:
    program = (
        f"import runpy; runpy.run_path('{package}/gunicorn.conf.py')['post_fork'](None, None)\n"
        "from gunicorn import util; from gunicorn.http import parser, wsgi; from gunicorn.workers import gthread\n"
        "applied = (wsgi.Response, parser.SocketUnreader, gthread.TConn, util.write_error)\n"
        "print(*(patch.__name__ for patch in applied))"
    )
    done = _run(program, repository, tmp_path)
    assert done.stdout.strip() == expected, done.stderr
