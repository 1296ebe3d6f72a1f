"""The commands of docs/model-artifacts.md do what it says, in their order, on a store of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flask_app.settings import ApiSettings
from model_artifact.card import ModelCard
from model_artifact.store import ArtifactStore
from model_training.data.datasets import load_iris
from model_training.model import IrisModel
from model_training.training import train_version

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "model-artifacts.md").read_text()
BLOCKS = re.findall(r"<!-- tested -->\n```sh\n(.*?)```\n", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """Two versions, as after two trainings, neither better than the one that the document trains."""
    store = ArtifactStore(tmp_path_factory.mktemp("docs") / "artifacts")
    for trees in (3, 4):
        train_version(load_iris(), lambda trees=trees: IrisModel(n_estimators=trees), store, test_size=0.2, seed=42)
    return store


def test_the_commands_in_their_order(store: ArtifactStore, tmp_path: Path) -> None:
    version = store.versions()[0]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_")}
    environ |= {"HOME": str(tmp_path), "MODEL_STORE": str(store.root)}
    said = []
    assert len(BLOCKS) == 4
    for block in BLOCKS:
        command = block.replace(".venv/bin/", f"{Path(sys.executable).parent}/").replace("VERSION", version)
        command = command.replace(" /tmp/", f" {tmp_path}/").replace("cd artifacts/", f"cd {store.root}/")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], cwd=ROOT, env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)
    commands, signing, openssl, rotation = said
    assert f"version {version} is current" in commands
    assert commands.splitlines()[-1].startswith(f"version {store.versions()[1]} is current")
    assert f"good     {version}, signature verified" in signing
    assert "Signature Verified Successfully" in openssl
    assert rotation.count("signature verified") == 2


def test_every_field_of_the_card_is_described() -> None:
    section = TEXT.split("## The card")[1].split("##")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert named == set(ModelCard.__struct_fields__)


def test_the_settings_that_it_names_exist() -> None:
    for name in set(re.findall(r"`(MODEL_[A-Z_]+)", TEXT)) - {"MODEL_SIGN_KEY"}:
        assert name.lower() in ApiSettings.__struct_fields__
