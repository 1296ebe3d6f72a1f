"""The command `python -m model_training.store`, as a person runs it."""

import itertools
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_artifact.pickling import CARD_FILE, MODEL_FILE
from model_artifact.signature import SIGNATURE_FILE, new_key, read_private_key
from model_artifact.store import ArtifactStore
from model_training import store as store_module


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL_STORE", "MODEL_PUBLIC_KEY", "MODEL_SIGN_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def command(store: ArtifactStore, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command; return status, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = store_module.main([*arguments, "--store", str(store.root)])
        said = capsys.readouterr()
        assert len(said.err.splitlines()) == (1 if said.err else 0)
        return status, said.out, said.err

    return run


@pytest.fixture
def third_version(store: ArtifactStore, train_into: Callable[..., Any], tmp_path: Path) -> str:
    card = train_into(tmp_path / "third", n_estimators=2, random_state=3)
    folder = tmp_path / "third" / "versions" / card.model_version
    shutil.copytree(folder, store.folder(folder.name))
    return folder.name


@pytest.fixture
def public_key(store: ArtifactStore, version: str, tmp_path: Path) -> str:
    """The public key file; its owner signed the store's first version."""
    private, public = new_key(tmp_path / "keys")
    store.sign(version, read_private_key(private))
    return str(public)


def _damage(store: ArtifactStore, version: str) -> None:
    with (store.folder(version) / MODEL_FILE).open("ab") as file:
        file.write(b"!")


# list


def test_list_shows_each_version_and_marks_the_current_one(
    command: Any, store: ArtifactStore, version: str, other_version: str
) -> None:
    status, out, _ = command("list")
    heading, *lines = out.splitlines()
    assert status == 0 and heading.split() == ["version", "trained", "at", "accuracy", "signature"]
    assert [line.split()[-4] for line in lines] == store.versions()
    assert [line[2:].split()[0] for line in lines if line.startswith("* ")] == [version]
    for line in lines:
        name, trained_at, accuracy, signature = line[2:].split()
        card = json.loads((store.folder(name) / CARD_FILE).read_bytes())
        assert (trained_at, accuracy) == (card["trained_at"], f"{card['metrics']['accuracy']:.4f}")
        assert signature == "none"


def test_list_shows_the_state_of_signatures(
    command: Any, store: ArtifactStore, version: str, other_version: str, public_key: str
) -> None:
    def states(*arguments: str) -> dict[str, str]:
        lines = command("list", *arguments)[1].splitlines()[1:]
        return {line[2:].split()[0]: re.split(r"\s{2,}", line[2:])[-1] for line in lines}

    assert states() == {version: "not checked", other_version: "none"}
    assert states("--public-key", public_key) == {version: "verified", other_version: "none"}
    shutil.copy(store.folder(version) / SIGNATURE_FILE, store.folder(other_version))
    assert states("--public-key", public_key) == {version: "verified", other_version: "invalid"}


def test_list_continues_after_damaged_and_foreign_folders(
    command: Any, store: ArtifactStore, version: str, other_version: str
) -> None:
    (store.folder(other_version) / CARD_FILE).write_bytes(b"{")
    for name in ("lost+found", ".incoming-x", "a file"):
        (store.root / "versions" / name).mkdir()
    (store.root / "versions" / "file").touch()
    (store.root / "current").write_text("\x1b[2J")
    status, out, _ = command("list")
    assert status == 0
    assert {line.split()[0]: line.split()[1] for line in out.splitlines()[1:]}[other_version] == "?"
    assert len(out.splitlines()) == 3 and "*" not in out


def test_a_card_cannot_control_the_terminal(command: Any, store: ArtifactStore, version: str) -> None:
    card = json.loads((store.folder(version) / CARD_FILE).read_bytes())
    (store.folder(version) / CARD_FILE).write_text(json.dumps(card | {"trained_at": "\x1b[2J\nx"}))
    assert "\x1b" not in command("list")[1] and len(command("list")[1].splitlines()) == 2


def test_the_error_of_an_empty_store_names_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("list", "rollback"):
        assert store_module.main([name, "--store", str(tmp_path / "none")]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert store_module.main(["verify", "--store", str(tmp_path / "none")]) == 1
    assert "train a model first" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


# activate


def test_activate_verifies_and_switches(command: Any, store: ArtifactStore, version: str, other_version: str) -> None:
    status, out, _ = command("activate", other_version)
    assert status == 0 and store.current() == other_version
    assert out == f"version {other_version} is current in {store.root} (it was {version}), not signed\n"


def test_activate_rejects_what_the_api_rejects(
    command: Any, store: ArtifactStore, version: str, other_version: str
) -> None:
    _damage(store, other_version)
    status, out, err = command("activate", other_version)
    assert (status, out, store.current()) == (1, "", version)
    assert err.startswith(f"store: version {other_version} is rejected, and nothing was switched: iris_model.pkl has")


def test_with_a_key_activate_rejects_an_unsigned_version(
    command: Any, store: ArtifactStore, version: str, other_version: str, public_key: str, monkeypatch: Any
) -> None:
    assert "signature not checked" in command("activate", version)[1]
    monkeypatch.setenv("MODEL_PUBLIC_KEY", public_key)
    assert "model_card.json.sig is missing" in command("activate", other_version)[2]
    assert store.current() == version
    assert command("activate", version)[1].endswith(", signature verified\n")


@pytest.mark.parametrize("name", ["none", "../../etc", "", "a b"])
def test_activate_of_a_missing_version_is_one_sentence(
    command: Any, store: ArtifactStore, version: str, name: str
) -> None:
    status, _, err = command("activate", name)
    assert (status, store.current()) == (1, version)
    assert "the store has no version none; it has: " in err or "is not the name of a version" in err


# rollback


def test_roll_backs_in_a_row_go_back_step_by_step(
    command: Any, store: ArtifactStore, version: str, other_version: str, third_version: str
) -> None:
    for name in (other_version, third_version, third_version):
        store.activate(name)
    assert command("rollback")[0] == 0 and store.current() == other_version
    assert command("rollback")[0] == 0 and store.current() == version
    status, _, err = command("rollback")
    assert (status, store.current()) == (1, version)
    assert "no version was current before this one" in err
    # Forward again, and back again.
    store.activate(third_version)
    assert command("rollback")[0] == 0 and store.current() == version


def test_a_roll_back_skips_removed_versions(
    command: Any, store: ArtifactStore, version: str, other_version: str, third_version: str
) -> None:
    for name in (other_version, third_version):
        store.activate(name)
    shutil.rmtree(store.folder(other_version))
    assert command("rollback")[0] == 0 and store.current() == version


def test_a_roll_back_to_a_damaged_version_changes_nothing(
    command: Any, store: ArtifactStore, version: str, other_version: str
) -> None:
    store.activate(other_version)
    _damage(store, version)
    for _ in range(2):
        status, _, err = command("rollback")
        assert (status, store.current()) == (1, other_version)
        assert f"version {version} is rejected, and nothing was switched" in err


def test_a_roll_back_from_a_lost_pointer(command: Any, store: ArtifactStore, version: str, other_version: str) -> None:
    store.activate(other_version)
    (store.root / "current").unlink()
    assert command("rollback")[0] == 0 and store.current() == version


@pytest.mark.parametrize("step", [1, 2])
def test_a_crash_between_the_two_writes_leaves_a_valid_store(
    command: Any,
    store: ArtifactStore,
    version: str,
    other_version: str,
    third_version: str,
    monkeypatch: Any,
    step: int,
) -> None:
    """Power fails before the first write or between the two, at a switch and at a roll-back."""
    store.activate(other_version)

    class PowerCutError(BaseException):
        pass

    def dies_at(step: int) -> Callable[..., None]:
        writes = 0
        real = ArtifactStore._write

        def write(self: ArtifactStore, name: str, lines: list[str]) -> None:
            nonlocal writes
            writes += 1
            if writes == step:
                raise PowerCutError
            real(self, name, lines)

        return write

    with monkeypatch.context() as patch:
        patch.setattr(ArtifactStore, "_write", dies_at(step))
        with pytest.raises(PowerCutError):
            store.activate(third_version)
    assert store.current() == other_version and store.previous() == version
    store.activate(third_version)
    with monkeypatch.context() as patch:
        patch.setattr(ArtifactStore, "_write", dies_at(step))
        with pytest.raises(PowerCutError):
            store.roll_back(other_version)
    if step == 1:
        assert store.current() == third_version and store.previous() == other_version
    else:
        assert store.current() == other_version and store.previous() == version


def test_the_history_is_bounded(store: ArtifactStore, version: str, other_version: str) -> None:
    for _ in range(60):
        store.activate(other_version)
        store.activate(version)
    assert len((store.root / "history").read_text().split()) == 100


def _activate_often(root: str, names: list[str]) -> None:
    for name in names:
        ArtifactStore(root).activate(name)


def test_concurrent_switches_lose_none(
    store: ArtifactStore, version: str, other_version: str, third_version: str
) -> None:
    """Without the lock, one would write the history that it read before the other wrote."""
    context = multiprocessing.get_context("spawn")
    plans = [[other_version, version] * 10, [third_version, version] * 10]
    processes = [context.Process(target=_activate_often, args=(str(store.root), plan)) for plan in plans]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    walked = [*(store.root / "history").read_text().split(), store.current()]
    assert walked[0] == version and walked[-1] == version
    # Each entry was current before the next one.
    assert all(one != two for one, two in itertools.pairwise(walked))
    assert {other_version, third_version} <= set(walked)


# verify


def test_verify_prints_each_outcome(
    command: Any, store: ArtifactStore, version: str, other_version: str, public_key: str
) -> None:
    status, out, _ = command("verify")
    assert status == 0
    assert sorted(out.splitlines()) == sorted(
        [f"good      {version}, signature not checked (no public key is set)", f"good      {other_version}, not signed"]
    )
    status, out, _ = command("verify", "--public-key", public_key)
    assert status == 1
    assert f"good      {version}, signature verified\n" in out
    assert f"rejected  {other_version}: model_card.json.sig is missing" in out
    assert command("verify", version, "--public-key", public_key)[0] == 0


def test_verify_finds_damage_and_a_pointer_to_nothing(
    command: Any, store: ArtifactStore, version: str, other_version: str
) -> None:
    _damage(store, other_version)
    (store.root / "current").write_text("none")
    status, out, _ = command("verify")
    assert status == 1
    assert f"good      {version}, not signed\n" in out and f"rejected  {other_version}: iris_model.pkl has" in out
    assert "rejected  current: the store has no version none" in out
    assert command("verify", version)[0] == 0
    assert command("verify", "none")[0] == 1


# Other behaviour


@pytest.mark.parametrize("name", ["list", "activate", "rollback", "verify"])
def test_a_bad_key_stops_every_command(command: Any, version: str, name: str) -> None:
    arguments = [name, version] if name == "activate" else [name]
    status, out, err = command(*arguments, "--public-key", "none.pub")
    assert (status, out) == (1, "") and err.startswith("store: the public key cannot be used: ")


def test_a_store_that_cannot_be_written_is_one_sentence(
    command: Any, store: ArtifactStore, version: str, other_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = command("activate", other_version)
    assert (status, store.current()) == (1, version)
    assert err == f"store: cannot use {store.root}: No space left on device; choose another --store\n"
    assert sorted(path.name for path in store.root.iterdir()) == ["current", "lock", "versions"]


def test_a_volume_that_cannot_flush_folders_is_supported(
    store: ArtifactStore, other_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(22, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store.activate(other_version)
    assert store.current() == other_version


def test_help_documents_every_command(repository: Path) -> None:
    def text(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "model_training.store", *arguments, "--help"],
            cwd=repository,
            env=os.environ | {"COLUMNS": "120", "MODEL_STORE": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    overview = text()
    for name in ("list", "activate", "rollback", "verify"):
        assert re.search(rf"^    {name} +\w", overview, re.MULTILINE)
        described = " ".join(text(name).split())
        assert "--store STORE" in described and "(default: artifacts)" in described
        assert "--public-key KEY" in described


def test_it_needs_no_training_package(repository: Path, store: ArtifactStore) -> None:
    """The API's image has none."""
    program = (
        "import sys\n"
        "for name in ('sklearn', 'pandas', 'flask'): sys.modules[name] = None\n"
        "from model_artifact.commands.store import main\n"
        f"sys.exit(main(['verify', '--store', {str(store.root)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
