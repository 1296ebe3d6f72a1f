"""docs/training.md: its commands work for a reader, in their order, and its table has every setting."""

from pathlib import Path
from typing import Any

import msgspec

from model_artifact.store import ArtifactStore
from model_training.configuration import Configuration, GateRules, make_configuration, read_settings
from model_training.data.datasets import DATASETS
from tests.readme.reader import ROOT, Reader

TEXT = (ROOT / "docs" / "training.md").read_text()


def test_the_commands(tmp_path: Path) -> None:
    printed = Reader.with_clone(tmp_path).read("docs/training.md")
    assert "".join(printed).count("is current in") == 2
    garden = tmp_path / ".run" / "garden"
    flowers, digits = sorted(ArtifactStore(garden / "artifacts").cards(), key=lambda card: card.trained_at)
    assert (digits.estimator, digits.hyperparameters["n_estimators"]) == ("random-forest", 20)
    assert [(feature.name, feature.unit) for feature in flowers.features] == [("length", "cm"), ("petals", None)]
    assert flowers.hyperparameters["max_depth"] == 3

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
