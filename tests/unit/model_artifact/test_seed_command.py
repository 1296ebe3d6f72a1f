"""The command `python -m model_training.store seed`."""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest

from model_artifact.pickling import MODEL_FILE
from model_artifact.signature import new_key
from model_artifact.store import ArtifactStore
from model_training import store as store_module


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL_STORE", "MODEL_PUBLIC_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def new_store(tmp_path: Path) -> ArtifactStore:
    """A store whose folder does not exist."""
    return ArtifactStore(tmp_path / "new" / "store")


def _seed(into: ArtifactStore, source: ArtifactStore, *options: str) -> int:
    return store_module.main(["seed", str(source.root), "--store", str(into.root), *options])


def test_seed_copies_the_current_version(
    store: ArtifactStore, version: str, other_version: str, new_store: ArtifactStore
) -> None:
    assert _seed(new_store, store) == 0
    assert (new_store.versions(), new_store.current()) == ([version], version)
    for path in store.folder(version).iterdir():
        assert (new_store.folder(version) / path.name).read_bytes() == path.read_bytes()
    assert store_module.main(["verify", "--store", str(new_store.root)]) == 0


def test_seed_never_replaces_a_pointer(
    store: ArtifactStore, version: str, other_version: str, new_store: ArtifactStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _seed(new_store, store) == 0
    store.activate(other_version)
    assert _seed(new_store, store) == 0
    assert new_store.current() == version
    (new_store.root / "current").write_text("?")
    capsys.readouterr()
    assert _seed(new_store, store) == 0
    assert (new_store.root / "current").read_text() == "?"
    assert capsys.readouterr().out == f"the pointer of {new_store.root} stays as it is\n"


def test_seed_copies_no_rejected_version(
    store: ArtifactStore, version: str, new_store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, key = new_key(tmp_path / "keys")
    assert _seed(new_store, store, "--public-key", str(key)) == 0
    assert "is rejected" in capsys.readouterr().err
    with (store.folder(version) / MODEL_FILE).open("ab") as file:
        file.write(b"!")
    for source in (store, ArtifactStore(tmp_path / "nowhere")):
        assert _seed(new_store, source) == 0
        assert "no version was copied" in capsys.readouterr().err
    assert not new_store.root.exists()


def _seed_after(start: Any, into: ArtifactStore, source: ArtifactStore) -> None:
    start.wait(30)
    sys.exit(_seed(into, source))


def test_seed_by_several_at_once(store: ArtifactStore, version: str, new_store: ArtifactStore) -> None:
    """The replicas of a first deployment do this."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    processes = [context.Process(target=_seed_after, args=(start, new_store, store)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert (new_store.versions(), new_store.current()) == ([version], version)
    assert [entry.name for entry in (new_store.root / "versions").iterdir()] == [version]


def test_seed_reports_a_store_that_cannot_be_written(
    store: ArtifactStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert _seed(ArtifactStore(tmp_path / "file" / "store"), store) == 1
    assert "choose another --store" in capsys.readouterr().err
