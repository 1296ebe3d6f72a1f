"""docs/training-service.md: its requests work for a reader; its settings and paths are those of the service."""

import json
from pathlib import Path

import msgspec
import pytest

from model_artifact.store import ArtifactStore
from tests.readme.reader import ROOT, Reader
from tests.stacks import ProcessStack
from training_service.application import create_app
from training_service.settings import TrainingServiceSettings

TEXT = (ROOT / "docs" / "training-service.md").read_text()


def test_the_requests_in_their_order(process_stack: ProcessStack, tmp_path: Path) -> None:
    reader = Reader.of_stack(tmp_path, process_stack)
    champion = ArtifactStore(process_stack.store).current()
    (printed,) = reader.read("docs/training-service.md", service=process_stack.training_url)
    assert json.loads((tmp_path / ".run" / "job.json").read_text())["state"] == "promoted"
    answers = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert answers[1]["classes"] == {"blue": 30, "red": 30}
    assert answers[-1] == {"champion": champion}
    process_stack.wait_until_served(champion)


@pytest.mark.parametrize("field", msgspec.structs.fields(TrainingServiceSettings), ids=lambda field: field.name)
def test_every_setting_is_there_with_its_default(field: msgspec.structs.FieldInfo) -> None:
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{field.name.upper()}` |")]
    assert row.split("|")[2].strip() == str(field.default)


def test_every_path_is_there(tmp_path: Path) -> None:
    app = create_app(TrainingServiceSettings(admin_token="a-token-of-this-test", training_dir=str(tmp_path)))
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<job_id>", "{id}").replace("<version>", "{version}")
        method = "POST" if "POST" in (rule.methods or ()) else "GET"
        assert f"`{method} {path}`" in TEXT
