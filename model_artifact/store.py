"""A folder of artifact versions and one pointer to the current one.

artifacts/
  current               the name of the version to serve
  history               the names of those that were current before it, the last one at the end: where a roll-back goes
  lock                  held while one of the two changes
  gate.lock             held while a training holds its model against the champion
  last_training.json    how the last training ended (training_record.py)
  versions/
    20261121-073107-3f2a9c1d/
      iris_model.pkl
      model_card.json
      model_card.json.sig
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from model_artifact.card import ModelCard, Version
from model_artifact.durable_file import flush, write_file
from model_artifact.pickling import (
    ArtifactError,
    load_artifact,
    read_card,
)
from model_artifact.signature import SIGNATURE_FILE, sign_card

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

POINTER = "current"
_HISTORY = "history"
_LOCK = "lock"
_GATE_LOCK = "gate.lock"
_VERSIONS = "versions"
_INCOMING = ".incoming-"

# Far above what one file of a version takes to arrive (mlflow_model.py).
_ABANDONED_SECONDS = 6 * 3600

# Roll-backs in a row that are possible.
_MAX_HISTORY = 100


class ArtifactStore:
    """Versions under one folder; every change of the pointer or of a version is atomic."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, version: str) -> Path:
        """Where a version's files lie.

        Raises:
            ArtifactError: the name cannot be a version's (it would lead out of the store, for one).
        """
        try:
            msgspec.convert(version, Version)
        except msgspec.ValidationError:
            raise ArtifactError(f"{version[:140]!r} is not the name of a version.") from None
        return self.root / _VERSIONS / version

    def existing(self, version: str) -> Path:
        """As `folder`, for a version that has to be there.

        Raises:
            ArtifactError: there is no such version.
        """
        folder = self.folder(version)
        if not folder.is_dir():
            raise ArtifactError(f"the store has no version {version}; it has: {', '.join(self.versions()) or 'none'}.")
        return folder

    def versions(self) -> list[str]:
        """Names of all versions, oldest first (a name starts with its time of training)."""
        folder = self.root / _VERSIONS
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if self._has(entry.name))

    def current(self) -> str:
        """The version to serve.

        Raises:
            ArtifactError: nothing was ever activated, or the pointer cannot be read.
        """
        try:
            raw = (self.root / POINTER).read_bytes()
        except FileNotFoundError:
            raise ArtifactError("the store has no current version; train a model first.") from None
        except OSError as error:
            raise ArtifactError(f"the store's pointer cannot be read: {error.strerror}.") from error
        version = raw.decode("utf-8", errors="replace").strip()
        self.folder(version)
        return version

    def activate(self, version: str) -> None:
        """Make a version current, whatever it holds; `load_artifact` proves it.

        Raises:
            ArtifactError: there is no such version.
        """
        self.existing(version)
        with self._locked():
            before = self.current_or_none()
            # First the history: whoever dies between the two leaves the current version as its end, which
            # `previous` passes over.
            if before is not None and before != version:
                self._write(_HISTORY, [*self._history(), before][-_MAX_HISTORY:])
            self._write(POINTER, [version])

    def previous(self) -> str:
        """The version that was current before, which a roll-back goes to; one that was removed since is passed over.

        Raises:
            ArtifactError: there is none.
        """
        history = self._history_before()
        if not history:
            raise ArtifactError(
                "no version was current before this one; choose one: python -m model_training.store activate VERSION."
            )
        return history[-1]

    def roll_back(self, version: str) -> None:
        """Make the version current that `previous` gave; done again, this goes a further step back.

        Raises:
            ArtifactError: somebody else switched in the meantime.
        """
        with self._locked():
            history = self._history_before()
            if history[-1:] != [version]:
                raise ArtifactError("the store was switched by somebody else at the same time; look and try again.")
            self._write(POINTER, [version])
            self._write(_HISTORY, history[:-1])

    def take_over(self, version: str, other: ArtifactStore) -> bool:
        """Copy another store's version and make it current, unless this store has a pointer; says whether it did.

        Any number of processes may do this at once, also while others train into this store.

        Raises:
            ArtifactError: the other store has no such version.
        """
        source = other.existing(version)
        if (self.root / POINTER).exists():
            return False
        if not self._has(version):
            try:
                with self.new_version(version) as folder:
                    shutil.copytree(source, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)
            except ArtifactError:
                # Another process brought it meanwhile.
                self.existing(version)
        with self._locked():
            # Even a pointer that cannot be read is somebody's choice.
            if (self.root / POINTER).exists():
                return False
            self._write(POINTER, [version])
        return True

    def cards(self, public_keys: Sequence[Ed25519PublicKey] = ()) -> list[ModelCard]:
        """The cards that can be read, and are signed where there are public keys, newest version first."""
        cards = []
        for version in reversed(self.versions()):
            with suppress(ArtifactError):
                cards.append(read_card(self.folder(version), version, public_keys))
        return cards

    def sign(self, version: str, key: Ed25519PrivateKey) -> None:
        """Sign a version that passes every other check; a signature that is there is replaced.

        Raises:
            ArtifactError: there is no such version, or it is refused.
        """
        folder = self.existing(version)
        proven = load_artifact(folder, version)
        write_file(folder / SIGNATURE_FILE, sign_card(proven.card_bytes, key))

    def current_or_none(self) -> str | None:
        """As `current`; None instead of an error."""
        try:
            return self.current()
        except ArtifactError:
            return None

    def _history(self) -> list[str]:
        try:
            return (self.root / _HISTORY).read_text(encoding="utf-8", errors="replace").split()
        except FileNotFoundError:
            return []

    def _history_before(self) -> list[str]:
        """The history down to where a roll-back would go."""
        history, current = self._history(), self.current_or_none()
        while history and (history[-1] == current or not self._has(history[-1])):
            history.pop()
        return history

    def _has(self, version: str) -> bool:
        with suppress(ArtifactError):
            return self.folder(version).is_dir()
        return False

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Held from the look at the champion until a new model replaces it or not, one training at a time.

        Else the later of two would replace the earlier one's champion without having met it.

        Raises:
            OSError: the store cannot be written.
        """
        with self._locked(_GATE_LOCK):
            yield

    @contextmanager
    def _locked(self, name: str = _LOCK) -> Iterator[None]:
        """Only one process at a time reads and changes pointer and history; the lock ends with its process."""
        descriptor = os.open(self.root / name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, name: str, lines: list[str]) -> None:
        write_file(self.root / name, "".join(f"{line}\n" for line in lines).encode())

    @contextmanager
    def new_version(self, version: str) -> Iterator[Path]:
        """A folder to fill; it becomes the version when the block ends without an error, else nothing is left.

        Raises:
            ArtifactError: the version exists.
        """
        target = self.folder(version)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=_INCOMING, ignore_cleanup_errors=True) as name:
            filling = Path(name) / "version"
            filling.mkdir()
            yield filling
            for path in (*filling.iterdir(), filling):
                flush(path)
            try:
                # Of two writers of one name the second fails here: a folder that holds files is not replaced.
                os.rename(filling, target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                raise ArtifactError(f"version {version} exists already in {self.root}.") from error
            # A pointer must not outlive a power cut that its version does not.
            for folder in (target.parent, self.root):
                flush(folder)


def _remove_abandoned(folder: Path) -> None:
    """Remove what a writer left that was killed; one that still writes changed its folder lately."""
    for path in folder.glob(f"{_INCOMING}*/version"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(path.parent, ignore_errors=True)
