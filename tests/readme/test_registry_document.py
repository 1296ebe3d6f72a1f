"""docs/registry.md: its commands work for a reader, in their order, on a real MLflow server; its names exist."""

import json
import re
from pathlib import Path

from mlflow import environment_variables

from model_artifact.mlflow.registered_model import MlflowModel
from model_artifact.store import ArtifactStore
from model_training.registry.registry import open_registry
from tests.mlflow_stack import MlflowStack
from tests.readme.reader import ROOT, Reader

TEXT = (ROOT / "docs" / "registry.md").read_text()


def test_the_commands_in_their_order(mlflow_stack: MlflowStack, tmp_path: Path) -> None:
    reader = Reader.with_clone(tmp_path)
    registry = open_registry(ArtifactStore(tmp_path / "other"), (), {"MLFLOW_TRACKING_URI": mlflow_stack.uri})
    printed, _ = reader.read("docs/registry.md", MLFLOW_TRACKING_URI=mlflow_stack.uri)
    first = registry.champion_version()
    assert first is not None and first in printed
    assert json.loads(printed[printed.index("{") :])["model_version"]["version"] == "1"

    # A second training with the same settings is not worse, so it passes; then the alias moves back.
    _, by_hand = re.findall(r"<!-- tested -->\n```sh\n(.*?)```\n", TEXT, re.DOTALL)
    reader.environ["MLFLOW_TRACKING_URI"] = mlflow_stack.uri
    reader.run(".venv/bin/tabular train")
    assert registry.champion_version() not in (None, first)
    reader.run(by_hand)
    assert registry.champion_version() == first
    ended = registry.last_training()
    assert ended is not None and ended.outcome == "promoted"

    # A rejected version is the challenger.
    reader.run(".venv/bin/tabular train --min-accuracy 1 || [ $? = 3 ]")
    assert registry.champion_version() == first
    model = MlflowModel.from_environ({"MLFLOW_TRACKING_URI": mlflow_stack.uri})
    challenger = model.version(str(model.read().alias("challenger")))
    assert challenger.tag("gate") == "rejected"
    ended = registry.last_training()
    assert ended is not None and (ended.outcome, ended.version) == ("rejected", challenger.version_name)


def test_the_settings_and_metrics_exist() -> None:
    section = TEXT.split("## Settings")[1].split("The variables of the server")[0]
    named = re.findall(r"`([A-Z_]+)`", " ".join(re.findall(r"^\|([^|]*)\|", section, re.MULTILINE)))
    source = "\n".join(
        path.read_text()
        for folder in ("flask_app", "model_artifact", "model_training")
        for path in (ROOT / folder).rglob("*.py")
    )
    assert named
    for name in named:
        assert hasattr(environment_variables, name) or re.search(rf"\b({name}|{name.lower()})\b", source), name
    image = (ROOT / "Dockerfile.mlflow-server").read_text()
    for name in ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION", "MLFLOW_SERVER_ALLOWED_HOSTS"):
        assert name in TEXT and name in image
    metrics = (ROOT / "docs/metrics.md").read_text()
    for name in re.findall(r"`(flask_api_\w+)`", TEXT):
        assert name in metrics
