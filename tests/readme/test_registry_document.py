"""The commands of docs/registry.md work in their order on a real MLflow server."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

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

    # A version that the gate rejects becomes challenger.
    run(".venv/bin/tabular train --min-accuracy 1 || [ $? = 3 ]")
    assert registry.champion_version() == first
    model = MlflowModel.from_environ({"MLFLOW_TRACKING_URI": mlflow_stack.uri})
    challenger = model.version(str(model.read().alias("challenger")))
    assert challenger.tag("gate") == "rejected"
    ended = registry.last_training()
    assert ended is not None and (ended.outcome, ended.version) == ("rejected", challenger.version_name)
