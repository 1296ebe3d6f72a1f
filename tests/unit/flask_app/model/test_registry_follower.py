"""The API follows the champion of a real MLflow server, and continues to serve when that server fails."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_app.model import registry_follower
from flask_app.model.registry_follower import RegistryFollower
from model_artifact.mlflow.registered_model import CHALLENGER, CHAMPION, MlflowModel, artifact_path
from model_artifact.pickling import MODEL_FILE, load_artifact
from model_artifact.signature import new_key, read_private_key, read_public_keys
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord, read_record
from model_training.registry.registry import Registry, open_registry
from tests.mlflow_stack import MlflowStack

POLL_SECONDS = 0.2


@pytest.fixture
def registry(store: ArtifactStore, mlflow_environ: dict[str, str]) -> Registry:
    """The registry of a training, with its own store."""
    return open_registry(store, (), mlflow_environ)


@pytest.fixture
def promote(store: ArtifactStore, registry: Registry) -> Callable[[str], None]:
    """Register a version, and make it champion: promote(version)."""

    def promote(version: str) -> None:
        registry.register(load_artifact(store.folder(version), version).card)
        registry.promote(version)

    return promote


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactStore:
    """The API's store; empty."""
    return ArtifactStore(tmp_path / "cache")


@pytest.fixture
def follower(cache: ArtifactStore, mlflow_environ: dict[str, str]) -> RegistryFollower:
    return RegistryFollower(MlflowModel.from_environ(mlflow_environ), cache, POLL_SECONDS)


def settings(environ: dict[str, str], **more: object) -> dict[str, object]:
    return {"registry_poll_seconds": POLL_SECONDS, **{name.lower(): value for name, value in environ.items()}, **more}


def tamper(stack: MlflowStack, environ: dict[str, str], alias: str = CHAMPION) -> Callable[[], None]:
    """Change the last byte of the pickle in the bucket; return a function that restores it."""
    model = MlflowModel.from_environ(environ)
    number = model.read().alias(alias)
    assert number is not None
    key = f"files/{artifact_path(model.version(number).source)}/{MODEL_FILE}"
    pickled = stack.get(key)
    stack.put(key, pickled[:-1] + b"!")
    return lambda: stack.put(key, pickled)


def served_by_all(server: Any, version: str) -> bool:
    """Return whether both workers serve the version."""
    loaded = [line for line in server.log() if line["message"] == "model loaded"]
    return len({line["process"] for line in loaded if line["model_version"] == version}) == 2


def serving(server: Any) -> str | None:
    status, model = server.ask("GET", "/model")
    return model["model_version"] if status == 200 else None


def details(server: Any, message: str) -> list[str]:
    return [line["detail"] for line in server.log() if line["message"] == message]


def metric(server: Any, name: str) -> float | None:
    connection = server.connect()
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    values = [float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{")]
    return values[0] if values else None


def test_a_promotion_during_a_poll_is_not_reverted(
    promote: Any,
    store: ArtifactStore,
    version: str,
    other_version: str,
    mlflow_environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The API shares its store with a training, which switches between the API's read and its own switch."""
    promote(version)
    model = MlflowModel.from_environ(mlflow_environ)
    follower = RegistryFollower(model, store, POLL_SECONDS)
    follower.poll()
    asked = model.read
    waiting = [other_version]

    def read() -> Any:
        answer = asked()
        while waiting:
            promote(waiting.pop())
        return answer

    monkeypatch.setattr(model, "read", read)
    follower.poll()
    assert waiting == [] and store.current() == other_version
    follower.poll()
    assert store.current() == other_version


def test_two_workers_follow_the_alias_and_outlive_the_registry(
    start_server: Any,
    eventually: Any,
    setosa: Any,
    promote: Any,
    registry: Registry,
    cache: ArtifactStore,
    version: str,
    other_version: str,
    mlflow_stack: MlflowStack,
    mlflow_environ: dict[str, str],
    tmp_path: Path,
) -> None:
    record = TrainingRecord("2026-11-21T10:00:00Z", "promoted", other_version)
    with start_server(cache.root, ready="/health", **settings(mlflow_environ)) as server:
        assert server.ask("GET", "/ready")[0] == 503
        promote(version)
        eventually(lambda: serving(server) == version)
        assert metric(server, "flask_api_registry_up") == 1
        promote(other_version)
        registry.record(record)
        eventually(lambda: served_by_all(server, other_version))
        eventually(lambda: read_record(cache.root) == record)

        mlflow_stack.kill()
        eventually(lambda: metric(server, "flask_api_registry_up") == 0)
        for _ in range(20):
            status, answer = server.ask("POST", "/predict", setosa)
            assert (status, answer["model_version"]) == (200, other_version)
        # The first line may report the broken connection.
        unreachable = f"MLflow at {mlflow_stack.uri} cannot be reached: Connection refused"
        eventually(lambda: details(server, "registry not followed")[-1:] == [unreachable])
        # A worker that starts now has only the cache.
        copy = shutil.copytree(cache.root, tmp_path / "copy")
        with start_server(copy, **settings(mlflow_environ)) as another:
            assert serving(another) == other_version

        mlflow_stack.start()
        eventually(lambda: metric(server, "flask_api_registry_up") == 1)
        # The polling worker dies; the other one, or its successor, continues to poll.
        asking = [line["process"] for line in server.log() if line["message"] == "registry followed"]
        assert len(set(asking)) == 1
        os.kill(asking[0], signal.SIGKILL)
        registry.roll_back()
        eventually(lambda: serving(server) == version)


def test_a_changed_file_in_the_registry_is_rejected_and_the_champion_still_serves(
    start_server: Any,
    eventually: Any,
    setosa: Any,
    promote: Any,
    registry: Registry,
    store: ArtifactStore,
    cache: ArtifactStore,
    version: str,
    other_version: str,
    mlflow_stack: MlflowStack,
    mlflow_environ: dict[str, str],
) -> None:
    promote(version)
    with start_server(cache.root, ready="/health", **settings(mlflow_environ)) as server:
        eventually(lambda: served_by_all(server, version))
        registry.register(load_artifact(store.folder(other_version), other_version).card)
        tamper(mlflow_stack, mlflow_environ, CHALLENGER)
        registry.promote(other_version)
        eventually(lambda: metric(server, "flask_api_registry_champion_refused") == 1)
        eventually(lambda: details(server, "registry's champion rejected"))
        [reason] = details(server, "registry's champion rejected")
        assert "iris_model.pkl does not have the SHA-256 of its card" in reason
        assert server.ask("POST", "/predict", setosa)[1]["model_version"] == version
        assert server.ask("GET", "/ready")[0] == 200
        assert cache.versions() == [version]
        registry.roll_back()
        eventually(lambda: metric(server, "flask_api_registry_champion_refused") == 0)


def test_a_repaired_version_is_loaded_later(
    follower: RegistryFollower,
    promote: Any,
    cache: ArtifactStore,
    version: str,
    mlflow_stack: MlflowStack,
    mlflow_environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promote(version)
    mend = tamper(mlflow_stack, mlflow_environ)
    follower.poll()
    mend()
    # Not fetched again at each poll: it may be large.
    follower.poll()
    assert cache.current_or_none() is None
    monkeypatch.setattr(registry_follower, "RETRY_SECONDS", 0.0)
    follower._retry_at = 0.0
    follower.poll()
    assert cache.current_or_none() == version


def test_with_a_public_key_an_unsigned_registry_champion_is_rejected(
    promote: Any,
    store: ArtifactStore,
    cache: ArtifactStore,
    version: str,
    other_version: str,
    mlflow_environ: dict[str, str],
    tmp_path: Path,
    log: Any,
) -> None:
    private, public = new_key(tmp_path / "keys")
    keys = read_public_keys(str(public))
    follower = RegistryFollower(MlflowModel.from_environ(mlflow_environ), cache, POLL_SECONDS, keys)
    promote(version)
    follower.poll()
    [line] = log.lines("registry's champion rejected")
    assert "this version is not signed" in line["detail"]
    assert cache.versions() == []
    store.sign(other_version, read_private_key(private))
    promote(other_version)
    follower.poll()
    assert cache.current() == other_version


def test_a_manual_switch_of_the_stores_pointer_is_reverted(
    follower: RegistryFollower, promote: Any, cache: ArtifactStore, version: str, other_version: str
) -> None:
    for name in (version, other_version):
        promote(name)
        follower.poll()
    cache.activate(version)
    follower.poll()
    assert cache.current() == other_version


def test_a_registry_without_a_champion_changes_nothing(
    follower: RegistryFollower, cache: ArtifactStore, version: str, store: ArtifactStore, log: Any
) -> None:
    shutil.copytree(store.root, cache.root)
    follower.poll()
    follower.poll()
    assert cache.current() == version
    [line] = log.lines("registry followed")
    assert line["detail"] == "there is no champion yet"


def test_a_store_that_cannot_be_written_is_reported(
    promote: Any, cache: ArtifactStore, version: str, mlflow_environ: dict[str, str], log: Any
) -> None:
    promote(version)
    cache.root.write_text("a file where the folder should be")
    RegistryFollower(MlflowModel.from_environ(mlflow_environ), cache, POLL_SECONDS).poll()
    [line] = log.lines("model store not written")
    assert str(cache.root) in line["detail"]


@pytest.mark.parametrize(
    ("uri", "reason"),
    [("mlflow", "MLFLOW_TRACKING_URI is not an address"), ("http://x:y", "MLFLOW_TRACKING_URI is not")],
)
def test_an_invalid_address_stops_the_start(
    gunicorn_command: list[str], gunicorn_environment: Any, repository: Path, uri: str, reason: str
) -> None:
    done = subprocess.run(
        gunicorn_command,
        cwd=repository,
        env=gunicorn_environment(mlflow_tracking_uri=uri),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"flask-api: {reason}")
    assert len(done.stderr.splitlines()) == 1
