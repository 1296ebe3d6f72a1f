"""The README's commands do what it says; its names exist."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from flask_app.settings import ApiSettings
from tests.stacks import ComposeStack, ProcessStack

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"<!-- tested: (\w+) -->\n```sh\n(.*?)```\n(?:```json\n(.*?)```\n)?", re.DOTALL)


def blocks(way: str) -> list[tuple[str, str]]:
    return [(command, answer) for found, command, answer in BLOCK.findall(README) if found == way]


def run(command: str, folder: Path, **environ: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shape(value: object) -> object:
    """A value with every number and every made-up name replaced by its type: what an example can promise."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items() if name not in ("model_version", "request_id")}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__ if isinstance(value, float) else value


@pytest.mark.parametrize(("command", "answer"), blocks("processes"))
def test_commands_for_make_run(process_stack: ProcessStack, tmp_path: Path, command: str, answer: str) -> None:
    command = command.replace("/tmp/", f"{tmp_path}/")
    command = command.replace("https://localhost:8443", process_stack.base_url)
    command = command.replace("http://localhost:5000", process_stack.api_url)
    command = command.replace(".run/certs/ca.crt", process_stack.ca_cert)
    command = command.replace(".venv/bin/", f"{Path(sys.executable).parent}/").replace("curl ", "curl -s ")
    printed = run(command, ROOT, MODEL_STORE=str(process_stack.store))
    assert printed
    if answer:
        assert shape(json.loads(printed)) == shape(json.loads(answer))


@pytest.mark.parametrize(("command", "_answer"), blocks("compose"))
def test_commands_for_compose(compose: ComposeStack, tmp_path: Path, command: str, _answer: str) -> None:
    command = command.replace("name=nginx-server", f"name={compose.project}.nginx-server")
    command = command.replace("https://localhost", compose.base_url).replace("curl ", "curl -sf ")
    assert json.loads(run(command, tmp_path).splitlines()[-1])["status"] == "ready"


def test_every_make_target_exists() -> None:
    targets = {line.split()[0] for line in run("make help", ROOT).splitlines()}
    code = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL) + re.findall(r"`([^`\n]+)`", README))
    named = set(re.findall(r"\bmake ([a-z]+)\b", code))
    assert {"run", "test"} <= named <= targets


@pytest.mark.parametrize("field", msgspec.structs.fields(ApiSettings), ids=lambda field: field.name)
def test_every_setting_of_the_api_is_in_the_table_with_its_default(field: msgspec.structs.FieldInfo) -> None:
    default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
    names = f"`{field.name.upper()}`"
    (row,) = [line for line in README.splitlines() if line.startswith("| `") and names in line.split("|")[1]]
    assert default in row.split("|")[2].strip().split(", ")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)\)", README))))
def test_every_linked_file_exists(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_tree_names_every_folder() -> None:
    tracked = run("git ls-files", ROOT).split()
    folders = {name.split("/")[0] for name in tracked if "/" in name and not name.startswith(".")} - {"docs"}
    listed = set(re.findall(r"^(\w+)/  ", README, re.MULTILINE))
    assert folders == listed
