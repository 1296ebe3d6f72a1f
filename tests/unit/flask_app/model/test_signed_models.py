"""With MODEL_PUBLIC_KEY the API serves only models that the key's owner signed."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flask_app.application import create_app
from flask_app.model import served_model
from flask_app.model.served_model import ModelHolder
from flask_app.settings import ApiSettings
from http_service.settings import SettingsError
from model_artifact.pickling import CARD_FILE, MODEL_FILE
from model_artifact.signature import SIGNATURE_FILE, new_key, public_key_text, read_private_key, read_public_keys
from model_artifact.store import ArtifactStore


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of a private key and its public one."""
    return new_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def sign(store: ArtifactStore, keys: tuple[Path, Path]) -> Any:
    """Sign a version of the store."""
    return lambda version: store.sign(version, read_private_key(keys[0]))


def test_a_signed_model_is_served_and_reported_by_ready(
    make_app: Any, store: ArtifactStore, version: str, sign: Any, keys: tuple[Path, Path], setosa: Any
) -> None:
    sign(version)
    client = make_app(store.root, model_public_key=str(keys[1])).test_client()
    assert client.get("/ready").json["signature"] == "verified"
    assert client.post("/predict", json=setosa).json["model_version"] == version
    # GET /model returns the signed bytes, so any client can verify the signature.
    assert client.get("/model").data == (store.folder(version) / CARD_FILE).read_bytes()


def test_without_a_key_ready_reports_an_unchecked_signature(
    make_app: Any, store: ArtifactStore, version: str, sign: Any
) -> None:
    sign(version)
    (store.folder(version) / SIGNATURE_FILE).write_bytes(b"garbage")
    assert make_app(store.root).test_client().get("/ready").json["signature"] == "not checked"


def test_an_unsigned_model_is_rejected_until_it_is_signed(
    make_app: Any, store: ArtifactStore, version: str, sign: Any, keys: tuple[Path, Path], eventually: Any
) -> None:
    """A new signature alone triggers another attempt."""
    client = make_app(store.root, model_public_key=str(keys[1])).test_client()
    answer = client.get("/ready")
    assert answer.status_code == 503 and "model_card.json.sig is missing" in answer.json["detail"]
    sign(version)
    eventually(lambda: client.get("/ready").status_code == 200)


@pytest.mark.parametrize("fault", ["unsigned", "another key", "another card", "card changed", "garbage"])
def test_a_wrongly_signed_version_never_replaces_the_served_one(
    make_app: Any,
    store: ArtifactStore,
    version: str,
    other_version: str,
    sign: Any,
    keys: tuple[Path, Path],
    setosa: Any,
    log: Any,
    eventually: Any,
    tmp_path: Path,
    fault: str,
) -> None:
    sign(version)
    sign(other_version)
    card, signature = (store.folder(other_version) / name for name in (CARD_FILE, SIGNATURE_FILE))
    if fault == "unsigned":
        signature.unlink()
    elif fault == "another key":
        store.sign(other_version, read_private_key(new_key(tmp_path / "theirs")[0]))
    elif fault == "another card":
        shutil.copy(store.folder(version) / SIGNATURE_FILE, signature)
    elif fault == "card changed":
        card.write_text(json.dumps(json.loads(card.read_bytes()) | {"model_name": "better"}))
    else:
        signature.write_bytes(b"x")
    app = make_app(store.root, model_public_key=str(keys[1]))
    client = app.test_client()
    store.activate(other_version)
    eventually(lambda: app.extensions["model_holder"].rejection)
    assert SIGNATURE_FILE in app.extensions["model_holder"].rejection
    assert client.post("/predict", json=setosa).json["model_version"] == version
    (line,) = log.lines("model rejected")
    assert line["still_serving"] == version and SIGNATURE_FILE in line["reason"]


def test_during_a_key_rotation_both_keys_are_valid(
    make_app: Any,
    store: ArtifactStore,
    version: str,
    other_version: str,
    sign: Any,
    keys: tuple[Path, Path],
    eventually: Any,
    tmp_path: Path,
) -> None:
    new_private, new_public = new_key(tmp_path / "new")
    sign(version)
    store.sign(other_version, read_private_key(new_private))
    (old,) = read_public_keys(str(keys[1]))
    client = make_app(store.root, model_public_key=f"{public_key_text(old)},{new_public}").test_client()
    assert client.get("/ready").json["model_version"] == version
    store.activate(other_version)
    eventually(lambda: client.get("/ready").json["model_version"] == other_version)


def test_an_unusable_key_stops_the_start(keys: tuple[Path, Path], store: ArtifactStore) -> None:
    """No model is better than an unsigned one."""
    for setting, reason in [
        (str(keys[0]), "holds a private key, which must never be where models are served"),
        (str(keys[0].with_name("none.pub")), "cannot be read: No such file"),
        ("yes", "cannot be read"),
    ]:
        with pytest.raises(SettingsError, match="MODEL_PUBLIC_KEY cannot be used: ") as error:
            create_app(ApiSettings(model_store=str(store.root), model_public_key=setting))
        assert reason in str(error.value)


def test_gunicorn_ends_at_once_with_one_sentence(
    keys: tuple[Path, Path],
    trained_store: Path,
    repository: Path,
    gunicorn_command: list[str],
    gunicorn_environment: Any,
) -> None:
    done = subprocess.run(
        gunicorn_command,
        cwd=repository,
        env=gunicorn_environment(model_store=trained_store, model_public_key=keys[0]),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith("flask-api: MODEL_PUBLIC_KEY cannot be used: ") and "private key" in line


# The holder with slow or unusual disks


def test_a_slow_disk_does_not_keep_a_worker_from_starting(
    make_app: Any, store: ArtifactStore, version: str, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    """Gunicorn would kill it after 30 s, and the next one as well."""
    import threading

    arrived = threading.Event()
    real = served_model.load_artifact

    def slow(*arguments: Any) -> Any:
        assert arrived.wait(30)
        return real(*arguments)

    monkeypatch.setattr(served_model, "load_artifact", slow)
    monkeypatch.setattr(served_model, "FIRST_POLL_SECONDS", 0.1)
    client = make_app(store.root).test_client()
    answer = client.get("/ready")
    assert answer.status_code == 503 and "the first one is loading" in answer.json["detail"]
    arrived.set()
    eventually(lambda: client.get("/ready").status_code == 200)


def test_a_rejected_version_is_tried_again_without_a_visible_change(
    store: ArtifactStore, version: str, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network volume may fail temporarily, or have coarse time stamps."""
    holder = ModelHolder(store, 1)
    monkeypatch.setattr(served_model, "_fingerprint", lambda _: ("the same",))
    path = store.folder(version) / MODEL_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    holder.refresh()
    rejection = holder.rejection
    path.write_bytes(whole)
    holder.refresh()
    assert holder.served is None
    path.write_bytes(whole[:-1])
    monkeypatch.setattr(served_model, "RETRY_SECONDS", 0.0)
    holder._retry_at = 0.0
    holder.refresh()
    assert holder.rejection == rejection
    # The same rejection is logged once.
    assert len(log.lines("model rejected")) == 1
    path.write_bytes(whole)
    holder.refresh()
    assert holder.served is not None and holder.rejection is None


def test_changed_inode_numbers_trigger_no_reload(store: ArtifactStore, version: str) -> None:
    """Some network volumes change them at each poll; reading the model every second would be expensive."""
    before = served_model._fingerprint(store.folder(version))
    status = (store.folder(version) / MODEL_FILE).stat()
    assert status.st_ino not in [part for mark in before if isinstance(mark, tuple) for part in mark]


def test_an_unexpected_failure_is_a_rejection_with_its_trace_in_the_log(
    store: ArtifactStore, version: str, other_version: str, log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = ModelHolder(store, 1)
    holder.refresh()
    store.activate(other_version)
    with monkeypatch.context() as patch:
        patch.setattr(served_model, "load_artifact", lambda *_: [][0])
        holder.refresh()
    assert holder.served is not None and holder.served.version == version
    assert holder.rejection == "the model cannot be opened (IndexError); the log has the trace."
    (line,) = log.lines("model rejected")
    assert "IndexError" in line["trace"]


def test_a_pointer_switched_forth_and_back_between_two_polls_triggers_no_reload(
    store: ArtifactStore, version: str, other_version: str, log: Any
) -> None:
    holder = ModelHolder(store, 1)
    holder.refresh()
    store.activate(other_version)
    store.activate(version)
    holder.refresh()
    assert len(log.lines("model loaded")) == 1


def test_a_switch_during_a_load_is_seen_at_the_next_poll(
    store: ArtifactStore, version: str, other_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = ModelHolder(store, 1)
    real = served_model.load_artifact

    def switching(*arguments: Any) -> Any:
        store.activate(other_version)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(served_model, "load_artifact", switching)
        holder.refresh()
    assert holder.served is not None and holder.served.version == version
    holder.refresh()
    assert holder.served.version == other_version


def test_a_removed_version_still_serves(store: ArtifactStore, version: str) -> None:
    holder = ModelHolder(store, 1)
    holder.refresh()
    shutil.rmtree(store.folder(version))
    holder.refresh()
    assert holder.served is not None and "model_card.json cannot be read: No such file" in str(holder.rejection)
