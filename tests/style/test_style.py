"""The code style, checked by ruff and mypy."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "tool", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=lambda tool: "-".join(tool[:2])
)
def test_python(tool: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_api_imports_needs_no_training_package() -> None:
    """The image of the API has neither scikit-learn nor pandas."""
    program = (
        "import sys\n"
        "for name in ('sklearn', 'pandas', 'streamlit'): sys.modules[name] = None\n"
        "import flask_app.application, model_artifact.store\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("requirements/*.txt"), *ROOT.glob("benchmarks/requirements/*.txt")]), ids=_name
)
def test_requirements_are_pinned_hashed_and_name_no_registry(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert not [line for line in text.splitlines() if line.startswith("-")]
    entries = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.lstrip().startswith("#")]
    assert entries
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
