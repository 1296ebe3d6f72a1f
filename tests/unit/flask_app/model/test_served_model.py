"""A valid new version replaces the served model atomically, without a restart."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_app.model.served_model import ModelHolder
from model_artifact.pickling import CARD_FILE, MODEL_FILE, load_artifact
from model_artifact.store import ArtifactStore

POLL_SECONDS = 0.02


@pytest.fixture
def watch() -> Any:
    """Start the real watch thread over a store."""
    holders = []

    def start(store: ArtifactStore) -> ModelHolder:
        holders.append(ModelHolder(store, POLL_SECONDS))
        holders[-1].watch()
        return holders[-1]

    yield start
    for holder in holders:
        holder.stop()


def _serves(holder: ModelHolder, version: str) -> Callable[[], bool]:
    return lambda: holder.served is not None and holder.served.version == version


def _some_polls(holder: ModelHolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait until the watch thread has polled several times."""
    looks = threading.Semaphore(0)
    refresh = holder.refresh

    def counted() -> None:
        refresh()
        looks.release()

    with monkeypatch.context() as patch:
        patch.setattr(holder, "refresh", counted)
        for _ in range(5):
            assert looks.acquire(timeout=30)


def test_it_recovers_by_itself_when_the_first_model_appears(
    make_app: Any, tmp_path: Path, trained_store: Path, setosa: Any, eventually: Any
) -> None:
    client = make_app(tmp_path / "store").test_client()
    assert client.post("/predict", json=setosa).status_code == 503
    shutil.copytree(trained_store, tmp_path / "store")
    eventually(lambda: client.get("/ready").status_code == 200)
    assert client.post("/predict", json=setosa).json["class_name"] == "setosa"


def test_a_switch_and_a_roll_back_are_noticed(
    watch: Any, store: ArtifactStore, version: str, other_version: str, eventually: Any
) -> None:
    holder = watch(store)
    assert holder.served.version == version
    for wanted in (other_version, version, other_version):
        store.activate(wanted)
        eventually(_serves(holder, wanted))
    assert holder.rejection is None


def test_a_bad_version_never_replaces_a_good_one_and_is_logged_once(
    watch: Any, store: ArtifactStore, version: str, other_version: str, log: Any, eventually: Any, monkeypatch: Any
) -> None:
    bad = store.folder(other_version) / MODEL_FILE
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-1])
    holder = watch(store)
    store.activate(other_version)
    eventually(lambda: holder.rejection)
    _some_polls(holder, monkeypatch)
    assert holder.served.version == version
    (line,) = log.lines("model rejected")
    assert (line["level"], line["still_serving"]) == ("error", version)
    assert "bytes, but its card records" in line["reason"]

    # Once repaired in place, it is loaded without another switch.
    bad.write_bytes(whole)
    eventually(_serves(holder, other_version))
    assert holder.rejection is None


def test_a_version_repaired_without_a_change_of_size_or_time_is_loaded(
    watch: Any, store: ArtifactStore, version: str, eventually: Any
) -> None:
    """rsync and cp -p preserve times, but write another file."""
    path = store.folder(version) / MODEL_FILE
    whole, times = path.read_bytes(), path.stat()
    path.write_bytes(b"!" + whole[1:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    holder = watch(store)
    assert holder.served is None and "SHA-256" in holder.rejection
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    eventually(_serves(holder, version))


@pytest.mark.parametrize("pointer", [None, "", "../../etc", "not-there", "\xff"])
def test_a_lost_pointer_keeps_the_model_serving(
    watch: Any, store: ArtifactStore, version: str, log: Any, eventually: Any, monkeypatch: Any, pointer: str | None
) -> None:
    holder = watch(store)
    if pointer is None:
        (store.root / "current").unlink()
    else:
        # A poll must not find the file empty in between.
        (store.root / "new").write_text(pointer)
        (store.root / "new").replace(store.root / "current")
    eventually(lambda: holder.rejection)
    _some_polls(holder, monkeypatch)
    assert holder.served.version == version
    assert len(log.lines("model rejected")) == 1
    (store.root / "current").write_text(version)
    eventually(lambda: holder.rejection is None)


def test_a_removed_store_keeps_the_model_serving_until_a_new_one_appears(
    make_app: Any, store: ArtifactStore, version: str, second_version: Path, setosa: Any, eventually: Any
) -> None:
    app = make_app(store.root)
    client = app.test_client()
    shutil.rmtree(store.root)
    eventually(lambda: app.extensions["model_holder"].rejection)
    answer = client.post("/predict", json=setosa)
    assert (answer.status_code, answer.json["model_version"]) == (200, version)
    assert client.get("/ready").status_code == 200
    shutil.copytree(second_version, store.folder(second_version.name))
    store.activate(second_version.name)
    eventually(lambda: client.get("/ready").json["model_version"] == second_version.name)


def test_the_watch_survives_an_unexpected_failure(
    watch: Any, store: ArtifactStore, other_version: str, log: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = watch(store)
    with monkeypatch.context() as patch:
        patch.setattr(store, "current", lambda: 1 / 0)
        eventually(lambda: log.lines("the poll of the model store failed"))
    assert "ZeroDivisionError" in log.lines("the poll of the model store failed")[0]["trace"]
    store.activate(other_version)
    eventually(_serves(holder, other_version))


def test_no_card_keeps_the_application_from_starting(make_app: Any, store: ArtifactStore, version: str) -> None:
    (store.folder(version) / CARD_FILE).write_bytes(b'{"x":' + b"[" * 100_000)
    assert make_app(store.root).test_client().get("/ready").status_code == 503


def test_under_swaps_every_answer_is_of_one_version(
    make_app: Any, store: ArtifactStore, version: str, other_version: str, setosa: Any, eventually: Any
) -> None:
    """Each answer has the probabilities of the version it names; no request fails, and both versions answer."""
    row = [list(setosa.values())]
    expected = {
        name: load_artifact(store.folder(name), name).model.predict_proba(row)[0].tolist()
        for name in (version, other_version)
    }
    assert expected[version] != expected[other_version]
    app = make_app(store.root, model_poll_seconds=0.005)
    wrong: list[Any] = []
    seen: set[str] = set()
    done = threading.Event()

    def ask() -> None:
        client = app.test_client()
        while not done.is_set():
            answer = client.post("/predict", json=setosa)
            if answer.status_code != 200 or expected[answer.json["model_version"]] != list(
                answer.json["probabilities"].values()
            ):
                wrong.append(answer.text)
            else:
                seen.add(answer.json["model_version"])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    holder = app.extensions["model_holder"]
    try:
        for wanted in [other_version, version] * 8:
            store.activate(wanted)
            eventually(_serves(holder, wanted))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert seen == {version, other_version}
