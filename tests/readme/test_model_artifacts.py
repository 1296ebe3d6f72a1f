"""docs/model-artifacts.md: its commands work for a reader, in their order; its fields and settings exist."""

import re
from pathlib import Path

from flask_app.settings import ApiSettings
from model_artifact.card import ModelCard
from model_artifact.store import ArtifactStore
from tests.readme.reader import ROOT, Reader

TEXT = (ROOT / "docs" / "model-artifacts.md").read_text()


def test_the_commands_in_their_order(tmp_path: Path) -> None:
    reader = Reader.with_clone(tmp_path)
    reader.run(".venv/bin/tabular train")  # As `make run` does.
    store = ArtifactStore(tmp_path / "artifacts")
    version = store.current()
    commands, signing, openssl, rotation = reader.read("docs/model-artifacts.md")
    assert f"version {version} is current" in commands
    assert re.search(rf"^version (?!{version})\S+ is current", commands.splitlines()[-1])
    assert f"good      {version}, signature verified" in signing
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
