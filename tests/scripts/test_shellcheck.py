"""shellcheck finds nothing in any shell script of the project, with or without a suffix."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def is_shell_script(path: Path) -> bool:
    if path.suffix in {".sh", ".bash"}:
        return True
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        return re.match(rb"#!.*\b(ba|da)?sh\b", file.readline(200)) is not None


def scripts() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return sorted(name for name in set(listing) if (ROOT / name).exists() and is_shell_script(ROOT / name))


@pytest.mark.parametrize("script", scripts())
def test_script_is_clean(script):
    if not SHELLCHECK.exists():
        pytest.skip("shellcheck is missing: pip install -r requirements/dev.txt")
    run = subprocess.run([SHELLCHECK, script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_scripts_are_found():
    assert {"minikube-deploy.sh", "nginx/make-certs.sh", "nginx/render.sh"} <= set(scripts())


def test_bash_3_runs_the_deployment():
    """macOS ships bash 3.2; shellcheck does not know which version a script is for."""
    lines = (ROOT / "minikube-deploy.sh").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    newer = (
        r"\b(mapfile|readarray|coproc)\b|\b(declare|local|typeset) -\w*[An]|\[\[ -v "
        r"|\$\{\w+(,|\^|@\w)|&>>|\|&"
    )
    assert not re.search(newer, text)
