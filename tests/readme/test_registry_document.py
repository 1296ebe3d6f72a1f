"""The commands of docs/registry.md do what it says, in their order, on a real MLflow server; its names exist."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from flask_app.settings import ApiSettings
from model_artifact.mlflow.registered_model import MlflowModel
from model_artifact.store import ArtifactStore
from model_training.registry.registry import open_registry
from tests.mlflow_stack import MlflowStack

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "registry.md").read_text()
BLOCKS = re.findall(r"<!-- tested -->\n```sh\n(.*?)```\n", TEXT, re.DOTALL)


def test_the_commands_in_their_order(mlflow_stack: MlflowStack, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MODEL_", "MLFLOW_"))}
    environ |= {"MODEL_STORE": str(tmp_path / "artifacts"), "no_proxy": "127.0.0.1"}

    def run(script: str) -> str:
        script = script.replace("http://localhost:5002", mlflow_stack.uri)
        script = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    train, by_hand = BLOCKS
    registry = open_registry(ArtifactStore(tmp_path / "other"), (), {"MLFLOW_TRACKING_URI": mlflow_stack.uri})
    printed = run(train)
    first = registry.champion_version()
    assert first is not None and first in printed
    assert json.loads(printed[printed.index("{") :])["model_version"]["version"] == "1"
    # The same again is not worse, so it passes.
    run(train)
    assert registry.champion_version() not in (None, first)
    environ["MLFLOW_TRACKING_URI"] = mlflow_stack.uri
    run(by_hand)
    assert registry.champion_version() == first
    ended = registry.last_training()
    assert ended is not None and ended.outcome == "promoted"

    # What the gate refuses is challenger.
    run(".venv/bin/python -m model_training.train --min-accuracy 1 || [ $? = 3 ]")
    assert registry.champion_version() == first
    model = MlflowModel.from_environ({"MLFLOW_TRACKING_URI": mlflow_stack.uri})
    challenger = model.version(str(model.read().alias("challenger")))
    assert challenger.tag("gate") == "rejected"
    ended = registry.last_training()
    assert ended is not None and (ended.outcome, ended.version) == ("rejected", challenger.version_name)


def test_the_settings_and_files_that_it_names_exist() -> None:
    section = TEXT.split("## ApiSettings")[1].split("The server itself")[0]
    named = re.findall(r"`([A-Z_]+)`", " ".join(re.findall(r"^\|([^|]*)\|", section, re.MULTILINE)))
    source = "\n".join(
        (ROOT / "model_training" / f"mlflow_{name}.py").read_text() for name in ("server", "model", "registry")
    )
    for name in named:
        assert name.lower() in ApiSettings.__struct_fields__ or f'"{name}"' in source, name
    image = (ROOT / "Dockerfile.mlflow-server").read_text()
    for name in ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_ARTIFACTS_DESTINATION", "MLFLOW_SERVER_ALLOWED_HOSTS"):
        assert name in TEXT and name in image
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", TEXT):
        assert (ROOT / "docs" / link).exists(), link
    metrics = (ROOT / "docs/metrics.md").read_text()
    for name in re.findall(r"`(flask_api_\w+)`", TEXT):
        assert name in metrics
