"""A folder of artifact versions and one pointer to the current one.

artifacts/
  current               the name of the version to serve
  history               the versions that were current before, the latest at the end: the targets of a roll-back
  lock                  held while one of the two changes
  gate.lock             held while a training compares its model with the champion and promotes it
  last_training.json    the outcome of the last training (training_record.py)
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
from model_artifact.errors import ArtifactError
from model_artifact.pickling import load_artifact, read_card
from model_artifact.signature import SIGNATURE_FILE, sign_card

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

POINTER = "current"
_HISTORY = "history"
_LOCK = "lock"
_GATE_LOCK = "gate.lock"
_VERSIONS = "versions"
_INCOMING = ".incoming-"

# Far above the time to download a file of a version (mlflow/registered_model.py).
_ABANDONED_SECONDS = 6 * 3600

# Possible roll-backs in a row.
_MAX_HISTORY = 100


class ArtifactStore:
    """Versions under one folder; every change of the pointer or of a version is atomic."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, version: str) -> Path:
        """Return the folder of a version.

        Raises:
            ArtifactError: the name cannot be a version's, for example because it leads out of the store.
        """
        try:
            msgspec.convert(version, Version)
        except msgspec.ValidationError:
            raise ArtifactError(f"{version[:140]!r} is not the name of a version.") from None
        return self.root / _VERSIONS / version

    def existing(self, version: str) -> Path:
        """Return the folder of a version that must exist.

        Raises:
            ArtifactError: there is no such version.
        """
        folder = self.folder(version)
        if not folder.is_dir():
            raise ArtifactError(f"the store has no version {version}; it has: {', '.join(self.versions()) or 'none'}.")
        return folder

    def versions(self) -> list[str]:
        """Return the names of all versions, oldest first (a name starts with the time of its training)."""
        folder = self.root / _VERSIONS
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if self._has(entry.name))

    def current(self) -> str:
        """Return the version to serve.

        Raises:
            ArtifactError: no version was ever activated, or the pointer cannot be read.
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
        """Make a version current without a check; the caller verifies it with `load_artifact`.

        Raises:
            ArtifactError: there is no such version.
        """
        self.existing(version)
        with self._locked():
            before = self.current_or_none()
            # A process that dies after the first write leaves the current version at the end of the history, and
            # `previous` skips it.
            if before is not None and before != version:
                self._write(_HISTORY, [*self._history(), before][-_MAX_HISTORY:])
            self._write(POINTER, [version])

    def previous(self) -> str:
        """Return the target of a roll-back: the latest version that was current before and still exists.

        Raises:
            ArtifactError: there is no such version.
        """
        history = self._history_before()
        if not history:
            raise ArtifactError("no version was current before this one; choose one: tabular store activate VERSION.")
        return history[-1]

    def roll_back(self, version: str) -> None:
        """Make the version current that `previous` returned; each further roll-back goes one step further back.

        Raises:
            ArtifactError: another process switched in the meantime.
        """
        with self._locked():
            history = self._history_before()
            if history[-1:] != [version]:
                raise ArtifactError(
                    "another process switched the store at the same time; check the current version and try again."
                )
            self._write(POINTER, [version])
            self._write(_HISTORY, history[:-1])

    def take_over(self, version: str, other: ArtifactStore) -> bool:
        """Copy another store's version and make it current, unless this store has a pointer; return whether it did.

        Safe in several processes at once, also while others train into this store.

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
                # Another process copied it meanwhile.
                self.existing(version)
        with self._locked():
            # Never replace a pointer, even one that cannot be read.
            if (self.root / POINTER).exists():
                return False
            self._write(POINTER, [version])
        return True

    def cards(self, public_keys: Sequence[Ed25519PublicKey] = ()) -> list[ModelCard]:
        """Return the cards that can be read, and are signed where there are public keys, newest version first."""
        cards = []
        for version in reversed(self.versions()):
            with suppress(ArtifactError):
                cards.append(read_card(self.folder(version), version, public_keys))
        return cards

    def sign(self, version: str, key: Ed25519PrivateKey) -> None:
        """Sign a version that passes every other check; replace an existing signature.

        Raises:
            ArtifactError: there is no such version, or it is rejected.
        """
        folder = self.existing(version)
        verified = load_artifact(folder, version)
        write_file(folder / SIGNATURE_FILE, sign_card(verified.card_bytes, key))

    def current_or_none(self) -> str | None:
        """Return the version to serve; None instead of an error."""
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
        """Return the history up to the target of a roll-back."""
        history, current = self._history(), self.current_or_none()
        while history and (history[-1] == current or not self._has(history[-1])):
            history.pop()
        return history

    def _has(self, version: str) -> bool:
        with suppress(ArtifactError):
            return self.folder(version).is_dir()
        return False

    @contextmanager
    def gate_lock(self) -> Iterator[None]:
        """Hold the gate lock, from reading the champion to the promotion of a new model.

        Without it, the later of two trainings replaces the champion of the earlier one without a comparison.

        Raises:
            OSError: the store cannot be written.
        """
        with self._locked(_GATE_LOCK):
            yield

    @contextmanager
    def _locked(self, name: str = _LOCK) -> Iterator[None]:
        """Hold a lock between processes; the system releases it when its process ends."""
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
        """Give a folder to fill, which becomes the version when the block ends without an error, or is removed.

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
                # The second of two writers fails here: `rename` does not replace a folder that holds files.
                os.rename(filling, target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                raise ArtifactError(f"version {version} exists already in {self.root}.") from error
            # After a power cut, no pointer may name a version that was not flushed.
            for folder in (target.parent, self.root):
                flush(folder)


def _remove_abandoned(folder: Path) -> None:
    """Remove the folders of killed writers, which did not change lately."""
    for path in folder.glob(f"{_INCOMING}*/version"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(path.parent, ignore_errors=True)
