"""The registry in a real MLflow server that keeps files in a real S3 service."""

import http.server
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_artifact.card import ModelCard
from model_artifact.errors import RegistryError
from model_artifact.mlflow.registered_model import MlflowModel, artifact_path
from model_artifact.pickling import CARD_FILE, MODEL_FILE, load_artifact
from model_artifact.signature import SIGNATURE_FILE, new_key, read_private_key, read_public_keys
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord
from model_training.registry.registry import Registry, open_registry
from model_training.registry.store_registry import StoreRegistry
from tests.mlflow_stack import BUCKET, MlflowStack


@pytest.fixture
def registry(store: ArtifactStore, mlflow_environ: dict[str, str]) -> Registry:
    return open_registry(store, (), mlflow_environ)


def card_of(store: ArtifactStore, version: str) -> ModelCard:
    return load_artifact(store.folder(version), version).card


def test_without_an_address_the_store_alone_is_the_registry(store: ArtifactStore) -> None:
    assert isinstance(open_registry(store, (), {"MLFLOW_TRACKING_URI": " "}), StoreRegistry)


def test_a_registry_without_versions_is_empty(registry: Registry) -> None:
    assert registry.champion() is None
    assert registry.champion_version() is None
    assert registry.cards() == []
    assert registry.last_training() is None
    with pytest.raises(RegistryError, match="no version was champion before this one"):
        registry.roll_back()


def test_versions_are_registered_promoted_and_rolled_back(
    registry: Registry,
    store: ArtifactStore,
    version: str,
    other_version: str,
    mlflow_stack: MlflowStack,
    mlflow_environ: dict[str, str],
) -> None:
    for name in (version, other_version):
        registry.register(card_of(store, name))
        assert registry.champion_version() != name
        registry.promote(name)
        assert registry.champion_version() == name == store.current()
    # Registering and promoting again changes nothing.
    registry.register(card_of(store, version))
    registry.promote(other_version)
    assert [card.model_version for card in registry.cards()] == sorted([version, other_version], reverse=True)

    elsewhere = open_registry(ArtifactStore(store.root.parent / "elsewhere"), (), mlflow_environ)
    champion = elsewhere.champion()
    assert champion is not None and champion.card == card_of(store, other_version)
    assert elsewhere.cards() == registry.cards()
    # A card is downloaded once; a version that is promoted is verified again.
    cards = list((mlflow_stack.folder / "s3").glob(f"**/{CARD_FILE}"))
    for path in cards:
        path.rename(path.with_name("away"))
    assert [card.model_version for card in elsewhere.cards()] == sorted([version, other_version], reverse=True)
    for path in cards:
        path.with_name("away").rename(path)
    assert elsewhere.roll_back() == version == registry.champion_version()
    with pytest.raises(RegistryError, match="no version was champion before this one"):
        registry.roll_back()
    with pytest.raises(RegistryError, match="has no version 20990101-000000-00000000"):
        registry.promote("20990101-000000-00000000")


def test_a_roll_back_skips_a_deleted_version(
    registry: Registry,
    store: ArtifactStore,
    version: str,
    other_version: str,
    second_version: Path,
    mlflow_stack: MlflowStack,
    mlflow_environ: dict[str, str],
) -> None:
    for name in (version, other_version, version):
        registry.register(card_of(store, name))
        registry.promote(name)
    mlflow_stack.run(
        "import sys, mlflow; mlflow.MlflowClient().delete_model_version(sys.argv[1], '2')",
        mlflow_environ["MLFLOW_MODEL_NAME"],
    )
    with pytest.raises(RegistryError, match="no version was champion before this one"):
        registry.roll_back()
    assert registry.champion_version() == version


def test_the_outcome_of_a_failed_first_training_is_recorded(registry: Registry) -> None:
    record = TrainingRecord("2026-11-21T10:00:00Z", "failed", None, 'the column "höhe" holds text. ' * 40)
    registry.record(record)
    assert registry.last_training() == record


def test_the_full_mlflow_client_finds_the_run_and_the_files(
    registry: Registry, store: ArtifactStore, version: str, mlflow_stack: MlflowStack, mlflow_environ: dict[str, str]
) -> None:
    card = card_of(store, version)
    (store.folder(version) / SIGNATURE_FILE).write_bytes(b"a signature\n")
    registry.register(card)
    script = """
import json, sys, mlflow
client = mlflow.MlflowClient()
version = client.get_model_version_by_alias(sys.argv[1], "challenger")
run = client.get_run(version.run_id)
client.get_experiment_by_name(sys.argv[1])
folder = mlflow.artifacts.download_artifacts(f"models:/{sys.argv[1]}@challenger")
names = ("confusion_matrix.svg",)
plots = [mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/{name}") for name in names]
print(json.dumps({
    "folder": folder, "plots": plots, "tags": version.tags, "parameters": run.data.params, "metrics": run.data.metrics,
    "status": run.info.status, "name": run.info.run_name, "commit": run.data.tags["mlflow.source.git.commit"],
    "data": [(found.dataset.name, found.dataset.digest) for found in run.inputs.dataset_inputs],
}))
"""
    found = json.loads(mlflow_stack.run(script, mlflow_environ["MLFLOW_MODEL_NAME"]))
    for path in store.folder(version).iterdir():
        assert (Path(found["folder"]) / path.name).read_bytes() == path.read_bytes()
    for plot, title in zip(found["plots"], ("Confusion matrix",), strict=True):
        assert f"<title>{title}" in Path(plot).read_text()
    assert found["status"] == "FINISHED"
    assert found["name"] == found["tags"]["model_version"] == version
    assert found["commit"] == card.git_commit
    assert found["metrics"]["accuracy"] == card.metrics.accuracy
    assert found["parameters"]["n_estimators"] == "10"
    assert found["data"] == [["iris", card.data.sha256[:36]]]


def test_a_file_that_was_changed_in_the_bucket_is_rejected(
    registry: Registry, store: ArtifactStore, version: str, mlflow_stack: MlflowStack, mlflow_environ: dict[str, str]
) -> None:
    registry.register(card_of(store, version))
    registry.promote(version)
    source = MlflowModel.from_environ(mlflow_environ).version("1").source
    key = f"files/{artifact_path(source)}/{MODEL_FILE}"
    pickled = mlflow_stack.get(key)
    assert pickled == (store.folder(version) / MODEL_FILE).read_bytes()
    mlflow_stack.put(key, pickled[:-1] + b"!")
    elsewhere = ArtifactStore(store.root.parent / "elsewhere")
    with pytest.raises(RegistryError, match=f"version {version} is rejected: .* does not have the SHA-256"):
        open_registry(elsewhere, (), mlflow_environ).champion()
    assert elsewhere.versions() == []
    mlflow_stack.put(key, pickled)
    assert open_registry(elsewhere, (), mlflow_environ).champion_version() == version


def test_with_a_public_key_an_unsigned_champion_is_rejected(
    registry: Registry, store: ArtifactStore, version: str, tmp_path: Path, mlflow_environ: dict[str, str]
) -> None:
    private, public = new_key(tmp_path / "keys")
    keys = read_public_keys(str(public))
    registry.register(card_of(store, version))
    registry.promote(version)
    careful = open_registry(ArtifactStore(tmp_path / "elsewhere"), keys, mlflow_environ)
    with pytest.raises(RegistryError, match=r"is rejected: .* is missing: this version is not signed"):
        careful.champion()
    assert careful.cards() == []

    signed = ArtifactStore(shutil.copytree(store.root, tmp_path / "signed"))
    signed.sign(version, read_private_key(private))
    other = {**mlflow_environ, "MLFLOW_MODEL_NAME": mlflow_environ["MLFLOW_MODEL_NAME"] + "-signed"}
    trainer = open_registry(signed, keys, other)
    trainer.register(card_of(signed, version))
    trainer.promote(version)
    careful = open_registry(ArtifactStore(tmp_path / "third"), keys, other)
    champion = careful.champion()
    assert champion is not None and champion.signature_verified


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, "MLFLOW_TRACKING_URI is not an address such as http://"),
        ({"MLFLOW_TRACKING_URI": "http://host:x"}, "MLFLOW_TRACKING_URI is not an address such as http://"),
        ({"MLFLOW_MODEL_NAME": "it's"}, 'MLFLOW_MODEL_NAME="it\'s" cannot be used'),
        ({"MLFLOW_TRACKING_SERVER_CERT_PATH": "/nowhere"}, "MLFLOW_TRACKING_SERVER_CERT_PATH=/nowhere cannot be used"),
    ],
)
def test_an_invalid_variable_is_reported_in_one_sentence(
    store: ArtifactStore, environ: dict[str, str], reason: str
) -> None:
    with pytest.raises(RegistryError, match=reason):
        open_registry(store, (), {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", **environ})


def test_an_artifact_location_that_the_server_does_not_serve_is_an_error(
    registry: Registry, store: ArtifactStore, version: str, mlflow_stack: MlflowStack, mlflow_environ: dict[str, str]
) -> None:
    """The API could not download them."""
    mlflow_stack.run(
        "import sys, mlflow; mlflow.create_experiment(sys.argv[1], artifact_location=sys.argv[2])",
        mlflow_environ["MLFLOW_MODEL_NAME"],
        f"s3://{BUCKET}/direct",
    )
    with pytest.raises(RegistryError, match="start the server with --serve-artifacts"):
        registry.register(card_of(store, version))
    assert registry.cards() == []


def test_an_unreachable_server_is_reported_in_one_sentence(store: ArtifactStore, version: str) -> None:
    registry: Any = open_registry(store, (), {"MLFLOW_TRACKING_URI": "http://user:secret@127.0.0.1:9/prefix/"})
    for ask in (registry.champion, registry.cards, lambda: registry.register(card_of(store, version))):
        with pytest.raises(RegistryError) as caught:
            ask()
        assert str(caught.value) == "MLflow at http://127.0.0.1:9/prefix cannot be reached: Connection refused"


def test_a_record_is_not_written_to_a_server_that_does_not_answer_a_read(store: ArtifactStore) -> None:
    """The client that writes has timeouts of minutes, and a command that fails or is stopped ends with a record."""
    registry: Any = open_registry(store, (), {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    registry._writer = None
    with pytest.raises(RegistryError, match="cannot be reached"):
        registry.record(TrainingRecord("2026-01-01T00:00:00Z", "failed"))


class ReadOnlyHandler(http.server.BaseHTTPRequestHandler):
    """Answers reads as an MLflow server without models; its subclasses set the answer to a write."""

    status: int
    content: bytes

    def do_GET(self) -> None:
        self.answer(404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.status:
            self.answer(self.status, self.content)

    def answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def read_only_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that answers every write with the parameter: a status and a body."""
    status, content = request.param
    handler = type("Handler", (ReadOnlyHandler,), {"status": status, "content": content})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("read_only_server", "reason"),
    [
        (
            (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "a\\nname"}'),
            "INVALID_PARAMETER_VALUE: a name$",
        ),
        ((403, b"Invalid Host header\x1b[31m"), r"error code 403 .* 'Invalid Host header\\x1b\[31m'$"),
        ((302, b""), "error code 302 "),
        ((503, b"<html>"), "too many 503 error responses$"),
        ((200, b"<html>a login page</html>"), "not in a valid JSON format"),
        ((0, b""), "Remote end closed connection without response$"),
    ],
    indirect=["read_only_server"],
)
def test_a_failed_write_is_reported_in_one_sentence_without_credentials(
    read_only_server: str, reason: str, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = open_registry(store, (), {"MLFLOW_TRACKING_URI": f"http://user:secret@{read_only_server}"})
    assert registry.champion_version() is None
    try:
        raise ValueError("the training failed")
    except ValueError:
        with pytest.raises(RegistryError, match=reason) as caught:
            registry.record(TrainingRecord("2026-11-21T10:00:00Z", "failed"))
    message = str(caught.value)
    assert message.startswith(f"MLflow at http://{read_only_server} ") and "secret" not in message
    assert "\n" not in message and "the training failed" not in message


def test_mlflow_prints_nothing_between_the_events(
    repository: Path, tmp_path: Path, mlflow_environ: dict[str, str]
) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MODEL_", "MLFLOW_"))}
    options = ["--events", "--store", str(tmp_path), "--n-estimators", "2", "--folds", "0"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "model_training.train", *options],
        cwd=repository,
        env=environ | mlflow_environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1])["outcome"] == "promoted"
    assert all(json.loads(line)["event"] in ("progress", "result") for line in done.stdout.splitlines())
