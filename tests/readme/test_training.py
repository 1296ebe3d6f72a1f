"""docs/training.md: its commands do what it says, and its table has every setting."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_artifact.store import ArtifactStore
from model_training.configuration import Configuration, GateRules, make_configuration, read_settings
from model_training.data.datasets import DATASETS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "training.md").read_text()
(COMMANDS,) = re.findall(r"<!-- tested -->\n```sh\n(.*?)```\n", TEXT, re.DOTALL)
(EXAMPLE,) = re.findall(r"```toml\n(.*?)```\n", TEXT, re.DOTALL)


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    """The folder that the example is about."""
    folder = tmp_path / "garden"
    folder.mkdir()
    rows = [f"{n},{n % 2 * 30 + n % 41},{n % 7},{'rose' if n % 2 else 'lily'}\n" for n in range(120)]
    (folder / "flowers.csv").write_text("row,length,petals,kind\n" + "".join(rows))
    (folder / "units.toml").write_text('length = "cm"\n')
    (folder / "training.toml").write_text(EXAMPLE)
    return folder


def test_the_commands(garden: Path, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MODEL_", "MLFLOW_"))}
    command = COMMANDS.replace("/tmp/", f"{tmp_path}/").replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=ROOT,
        env=environ | {"MODEL_STORE": str(tmp_path / "store")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.count("is current in") == 2
    digits, flowers = sorted(ArtifactStore(tmp_path / "store").cards(), key=lambda card: card.trained_at)
    assert (digits.estimator, digits.hyperparameters["n_estimators"]) == ("random-forest", 20)
    assert [(feature.name, feature.unit) for feature in flowers.features] == [("length", "cm"), ("petals", None)]
    assert flowers.hyperparameters["max_depth"] == 3


def test_the_example_sets_what_it_seems_to(garden: Path) -> None:
    configuration = make_configuration(read_settings(garden / "training.toml", DATASETS))
    assert (configuration.target, configuration.ignore) == ("kind", ["row"])
    assert (configuration.parameters, configuration.gate.min_accuracy) == ({"max_depth": 3}, 0.8)


def test_every_setting_is_in_the_table_with_its_default() -> None:
    section = TEXT.split("## Settings")[1].split("\n## ")[0]
    rows = {
        row.split("|")[1].strip(" `"): row.split("|")[2].strip()
        for row in section.splitlines()
        if row.startswith("| `")
    }
    named = {**_defaults(Configuration, ""), **_defaults(GateRules, "gate.")}
    assert rows == named


def _defaults(struct: Any, prefix: str) -> dict[str, str]:
    shown = {}
    for name, value in msgspec.structs.asdict(struct()).items():
        empty = value is None or value in ([], {}) or isinstance(value, GateRules)
        shown[prefix + name] = "" if empty else f"{value:g}" if isinstance(value, float) else str(value)
    return shown
