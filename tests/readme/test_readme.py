"""The README's commands work for a reader, in their order; its settings, links and folders exist."""

import json
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from flask_app.settings import ApiSettings
from model_artifact.store import ArtifactStore
from tests.readme.reader import ROOT, Reader
from tests.stacks import ComposeStack, ProcessStack

README = (ROOT / "README.md").read_text()


def test_commands_for_make_run(process_stack: ProcessStack, tmp_path: Path) -> None:
    # The whole black-box suite runs elsewhere.
    reader = Reader.of_stack(tmp_path, process_stack, PYTEST_ARGS="-k test_api.py")
    store = ArtifactStore(process_stack.store)
    before = store.versions()
    printed = reader.read("README.md", "processes", URL=process_stack.base_url)
    assert all(printed)
    process_stack.wait_until_served(store.current())
    trained = [card for card in store.cards() if card.model_version not in before]
    iris, wine = sorted(trained, key=lambda card: card.trained_at)
    assert (iris.data.name, wine.data.name) == ("iris", "wine")
    assert store.current() == iris.model_version


def test_commands_for_compose(compose: ComposeStack, tmp_path: Path) -> None:
    # Another project on the machine may use that container name.
    reader = Reader.with_clone(tmp_path, NGINX=f"{compose.project}.nginx-server")
    (ready,) = reader.read("README.md", "compose", URL=compose.base_url, name="$NGINX")
    assert json.loads(ready)["status"] == "ready"


def test_every_make_target_exists() -> None:
    help_text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = {line.split()[0] for line in help_text.splitlines()}
    code = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL) + re.findall(r"`([^`\n]+)`", README))
    named = set(re.findall(r"\bmake ([a-z-]+)\b", code))
    assert {"run", "test", "test-system"} <= named <= targets


@pytest.mark.parametrize("field", msgspec.structs.fields(ApiSettings), ids=lambda field: field.name)
def test_every_setting_of_the_api_is_in_the_table_with_its_default(field: msgspec.structs.FieldInfo) -> None:
    default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
    names = f"`{field.name.upper()}`"
    (row,) = [line for line in README.splitlines() if line.startswith("| `") and names in line.split("|")[1]]
    assert default in row.split("|")[2].strip().split(", ")


def test_the_layout_names_every_folder() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = {name.split("/")[0] for name in tracked if "/" in name and not name.startswith(".")} - {"docs"}
    assert folders == set(re.findall(r"^(\w+)/  ", README, re.MULTILINE))
