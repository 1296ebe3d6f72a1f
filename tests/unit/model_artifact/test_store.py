"""The folder of versions: every change is atomic."""

import os
import stat
import threading
import time
from datetime import datetime, tzinfo
from pathlib import Path

import pytest

from model_artifact.errors import ArtifactError
from model_artifact.pickling import load_artifact
from model_artifact.store import ArtifactStore


def _fill(store: ArtifactStore, version: str, content: str = "x") -> None:
    with store.new_version(version) as folder:
        (folder / "file").write_text(content)


@pytest.fixture
def empty(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "new" / "store")


def test_the_error_of_an_empty_store_names_the_remedy(empty: ArtifactStore) -> None:
    assert empty.versions() == []
    with pytest.raises(ArtifactError, match="train a model first"):
        empty.current()
    with pytest.raises(ArtifactError, match="no version v1; it has: none"):
        empty.activate("v1")


def test_a_version_is_seen_only_when_it_is_complete(empty: ArtifactStore) -> None:
    with empty.new_version("v1") as folder:
        (folder / "file").write_text("x")
        assert empty.versions() == []
        assert not empty.folder("v1").exists()
    assert empty.versions() == ["v1"]
    assert (empty.folder("v1") / "file").read_text() == "x"


def test_a_failed_write_leaves_nothing(store: ArtifactStore, version: str) -> None:
    before = sorted(store.root.rglob("*"))
    with pytest.raises(OSError, match="disk full"), store.new_version("half") as folder:
        (folder / "iris_model.pkl").write_bytes(b"half of i")
        raise OSError("disk full")
    assert sorted(store.root.rglob("*")) == before
    assert store.current() == version


def test_a_version_is_never_overwritten(empty: ArtifactStore) -> None:
    _fill(empty, "v1", "first")
    with pytest.raises(ArtifactError, match="version v1 exists already"):
        _fill(empty, "v1", "second")
    assert (empty.folder("v1") / "file").read_text() == "first"
    assert [entry.name for entry in (empty.root / "versions").iterdir()] == ["v1"]


def test_of_two_writers_of_one_name_one_wins(empty: ArtifactStore) -> None:
    both_filled = threading.Barrier(2, timeout=10)
    lost = []

    def write(content: str) -> None:
        try:
            with empty.new_version("v1") as folder:
                for name in ("one", "two"):
                    (folder / name).write_text(content)
                both_filled.wait()
        except ArtifactError:
            lost.append(content)

    threads = [threading.Thread(target=write, args=(content,)) for content in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lost) == 1
    assert {(empty.folder("v1") / name).read_text() for name in ("one", "two")} == {"a", "b"} - set(lost)


def test_pointer_switches_forth_and_back(store: ArtifactStore, version: str, other_version: str) -> None:
    for wanted in (other_version, version):
        store.activate(wanted)
        assert store.current() == wanted
    assert store.versions() == sorted([version, other_version])


def test_activating_a_missing_version_changes_nothing(store: ArtifactStore, version: str) -> None:
    with pytest.raises(ArtifactError, match=f"no version v2; it has: {version}"):
        store.activate("v2")
    assert store.current() == version


def test_readers_never_see_a_torn_pointer(store: ArtifactStore, version: str, other_version: str) -> None:
    seen = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(store.current())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        store.activate(other_version)
        store.activate(version)
    done.set()
    reader.join()
    assert seen <= {version, other_version}
    assert [entry.name for entry in store.root.iterdir() if entry.name.startswith(".")] == []


def test_another_user_may_read_what_was_trained(train_into, tmp_path: Path) -> None:
    """The image trains as root and serves as 10001."""
    before = os.umask(0o022)
    try:
        card = train_into(tmp_path / "artifacts", n_estimators=1)
    finally:
        os.umask(before)
    store = ArtifactStore(tmp_path / "artifacts")
    for path in [store.root / "current", *store.folder(card.model_version).iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o044 == 0o044, path
    for folder in [store.root / "versions", store.folder(card.model_version)]:
        assert stat.S_IMODE(folder.stat().st_mode) & 0o055 == 0o055, folder


TRAVERSALS = ["../../etc", "..", ".", "/etc", "a/../../b", "a/b", "a\\b\x00", "", "v1\nv2", "x" * 200, "é"]


@pytest.mark.parametrize("name", TRAVERSALS)
def test_a_pointer_cannot_lead_out_of_the_store(store: ArtifactStore, name: str) -> None:
    (store.root / "current").write_text(name)
    with pytest.raises(ArtifactError, match="is not the name of a version") as rejection:
        store.current()
    assert len(str(rejection.value)) < 300
    with pytest.raises(ArtifactError, match="is not the name of a version"):
        store.activate(name)


def test_a_pointer_may_end_in_a_newline_or_not(store: ArtifactStore, version: str) -> None:
    """An operator may write it with echo."""
    for text in (version, version + "\n", version + "\r\n"):
        (store.root / "current").write_bytes(text.encode())
        assert store.current() == version


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00" * 10])
def test_a_pointer_of_garbage_is_rejected(store: ArtifactStore, content: bytes) -> None:
    (store.root / "current").write_bytes(content)
    with pytest.raises(ArtifactError, match="is not the name of a version"):
        store.current()


def test_an_unreadable_pointer_is_reported_with_the_reason(store: ArtifactStore) -> None:
    (store.root / "current").unlink()
    (store.root / "current").mkdir()
    with pytest.raises(ArtifactError, match="pointer cannot be read: Is a directory"):
        store.current()


def test_two_trainings_in_one_second_are_two_versions(
    train_into, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is complete, and the later one is current."""

    class StoppedClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2026, 11, 21, 7, 31, 7, tzinfo=tz)

    monkeypatch.setattr("model_training.model_card.datetime", StoppedClock)
    cards = [train_into(tmp_path, n_estimators=1) for _ in range(2)]
    store = ArtifactStore(tmp_path)
    assert store.versions() == sorted({card.model_version for card in cards})
    assert {version[:16] for version in store.versions()} == {"20261121-073107-"}
    assert store.current() == cards[1].model_version
    for card in cards:
        assert load_artifact(store.folder(card.model_version), card.model_version).card == card


def test_files_of_a_killed_writer_are_removed_by_a_later_one(empty: ArtifactStore) -> None:
    versions = empty.folder("v1").parent
    for name, hours in ((".incoming-abandoned", 7), (".incoming-under-way", 1)):
        folder = versions / name / "version"
        folder.mkdir(parents=True)
        (folder / "file").write_text("half of it")
        then = time.time() - hours * 3600
        os.utime(folder, (then, then))
    _fill(empty, "v1")
    assert sorted(path.name for path in versions.iterdir()) == [".incoming-under-way", "v1"]
