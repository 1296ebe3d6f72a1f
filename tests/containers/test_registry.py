"""The profile `registry`: MLflow's server in a container, and the API's containers that follow it."""

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from model_artifact.errors import RegistryError
from model_artifact.store import ArtifactStore
from model_training.data.datasets import load_iris
from model_training.model import IrisModel
from model_training.registry.registry import Registry, open_registry
from model_training.training import train_version
from tests.stacks import ComposeStack, free_ports, require_docker

# Longer than any step here takes on a busy machine.
PATIENCE = 180.0


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """MLflow's server and two containers of the API that share one cache."""
    require_docker()
    [port] = free_ports(1)
    stack = ComposeStack(
        tmp_path_factory.mktemp("registry"),
        COMPOSE_PROFILES="registry",
        MLFLOW_TRACKING_URI="http://mlflow-server:5002",
        MODEL_STORE="/cache",
        REGISTRY_POLL_SECONDS="0.5",
        MLFLOW_PORT=str(port),
    )
    try:
        stack.run("up", "--build", "-d", "--scale", "flask-api=2", "flask-api", "mlflow-server")
        stack.wait_until_healthy()
        yield stack
    finally:
        stack.__exit__()


def served(stack: ComposeStack) -> list[str]:
    """Return the version of each container of the API; empty if it does not answer."""
    answers = []
    for container in stack.containers("flask-api"):
        port = docker("port", container, "5000").rpartition(":")[2]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/predict",
            json.dumps({"features": [5.1, 3.5, 1.4, 0.2]}).encode(),
            {"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as response:
                answers.append(json.load(response)["model_version"])
        except OSError:
            answers.append("")
    return answers


def answers(registry: Registry) -> bool:
    with contextlib.suppress(RegistryError):
        return registry.champion_version() is not None
    return False


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def test_containers_follow_the_champion_and_outlive_the_server(stack: ComposeStack, tmp_path: Path) -> None:
    [first] = set(served(stack))
    store = ArtifactStore(tmp_path / "artifacts")
    registry = open_registry(store, (), {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{stack.env['MLFLOW_PORT']}"})
    cards = [
        train_version(load_iris(), lambda trees=trees: IrisModel(n_estimators=trees), store, test_size=0.2, seed=42)
        for trees in (3, 4)
    ]
    # The image's own model serves until a champion exists.
    assert first not in store.versions()
    for card in cards:
        registry.register(card)
        registry.promote(card.model_version)
        eventually(lambda card=card: set(served(stack)) == {card.model_version})

    [server] = stack.containers("mlflow-server")
    docker("kill", server)
    # A container that starts now has only the cache.
    docker("restart", "-t", "5", stack.containers("flask-api")[0])
    eventually(lambda: set(served(stack)) == {cards[1].model_version})
    docker("start", server)
    eventually(lambda: answers(registry))
    registry.roll_back()
    eventually(lambda: set(served(stack)) == {cards[0].model_version})


def test_the_servers_image_is_like_the_others(stack: ComposeStack) -> None:
    config = json.loads(docker("image", "inspect", "mlflow-server"))[0]["Config"]
    assert (config["User"], config["StopSignal"]) == ("10001:10001", "SIGTERM")
    assert config["Labels"]["org.opencontainers.image.title"] == "mlflow-server"
    script = """
import importlib.util, boto3, sqlalchemy
# Fails without the driver that SQLAlchemy takes for Postgres.
sqlalchemy.create_engine("postgresql://somewhere")
print([name for name in "pip scipy sklearn pyarrow matplotlib".split() if importlib.util.find_spec(name)])
"""
    [container] = stack.containers("mlflow-server")
    assert docker("exec", container, "python", "-W", "ignore", "-c", script) == "[]"
    tools = "for tool in gcc cc make git; do command -v $tool; done; find /venv -perm -o+w ! -type l; true"
    assert docker("exec", container, "sh", "-c", tools) == ""
    own = int(docker("image", "inspect", "--format", "{{.Size}}", "mlflow-server")) - int(
        docker("image", "inspect", "--format", "{{.Size}}", "python:3.13-slim")
    )
    assert own / 1e6 < 340


def test_the_server_stops_on_its_signal(stack: ComposeStack) -> None:
    [container] = stack.containers("mlflow-server")
    docker("stop", "-t", "60", container)
    # 137 would be a kill.
    assert json.loads(docker("inspect", container))[0]["State"]["ExitCode"] in (0, 143)
