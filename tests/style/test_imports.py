"""Packages import along the arrows of docs/architecture.md; the contracts are in pyproject.toml."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_the_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("flask_app/rows/row_schema.py", "import model_training", "The API imports nothing of training"),
        ("model_artifact/card.py", "import pandas", "The API imports nothing of training"),
        ("model_artifact/card.py", "import flask", "Artifacts and tables know no web framework"),
        ("streamlit_app/app.py", "import model_artifact", "The UI imports table_io only"),
        ("table_io/cells.py", "import http_service", "Each package imports only packages below it"),
        ("training_service/settings.py", "import flask_app", "Each package imports only packages below it"),
        ("table_io/errors.py", "import table_io.reader", "No import cycle between the modules of a package"),
    ],
)
def test_a_planted_import_breaks_its_contract(tmp_path: Path, module: str, statement: str, contract: str) -> None:
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write(f"\n{statement}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in done.stdout
