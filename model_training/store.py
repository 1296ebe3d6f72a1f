"""A folder of artifact versions and one pointer to the current one.

python -m model_training.store --help

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

import argparse
import errno
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from model_training.artifact import (
    Artifact,
    ArtifactError,
    is_signed,
    load_artifact,
    read_card,
    read_card_bytes,
)
from model_training.durable_file import flush, write_file
from model_training.schema import ModelCard, Version
from model_training.signing import SIGNATURE_FILE, SigningError, read_public_keys, sign_card

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_POINTER = "current"
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
            raw = (self.root / _POINTER).read_bytes()
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
            self._write(_POINTER, [version])

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
            self._write(_POINTER, [version])
            self._write(_HISTORY, history[:-1])

    def take_over(self, version: str, other: ArtifactStore) -> bool:
        """Copy another store's version and make it current, unless this store has a pointer; says whether it did.

        Any number of processes may do this at once, also while others train into this store.

        Raises:
            ArtifactError: the other store has no such version.
        """
        source = other.existing(version)
        if (self.root / _POINTER).exists():
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
            if (self.root / _POINTER).exists():
                return False
            self._write(_POINTER, [version])
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(argv)
    store = ArtifactStore(options.store)
    try:
        keys = read_public_keys(options.public_key)
    except SigningError as error:
        print(f"store: the public key cannot be used: {error}", file=sys.stderr)
        return 1
    try:
        if options.command == "list":
            print("\n".join(_list(store, keys)))
            return 0
        if options.command == "verify":
            return _verify(store, options.version, keys)
        if options.command == "seed":
            return _seed(store, ArtifactStore(options.source), keys)
        before = store.current_or_none()
        forward = options.command == "activate"
        version = options.version if forward else store.previous()
        proven = _prove(store, version, keys)
        (store.activate if forward else store.roll_back)(version)
    except ArtifactError as error:
        print(f"store: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"store: cannot use {options.store}: {error.strerror}; choose another --store", file=sys.stderr)
        return 1
    was = f" (it was {before})" if before and before != version else ""
    print(f"version {version} is current in {options.store}{was}, {_signature(proven, store.folder(version))}")
    gate = proven.card.gate
    if gate and not gate.passed:
        print(f"the gate had not let it through: {' '.join(gate.reasons)}")
    return 0


def _prove(store: ArtifactStore, version: str, keys: Sequence[Ed25519PublicKey]) -> Artifact:
    """Open a version as the API will.

    Raises:
        ArtifactError: it is refused; the message names the version.
    """
    folder = store.existing(version)
    try:
        return load_artifact(folder, version, keys)
    except ArtifactError as error:
        raise ArtifactError(f"version {version} is refused, and nothing was switched: {error}") from error


def _seed(store: ArtifactStore, source: ArtifactStore, keys: Sequence[Ed25519PublicKey]) -> int:
    """Take over the source's current version, and say so; what is refused leaves the store as it is, and is no error.

    A first model is a convenience: without one the API waits for a training, and must not fail to start.
    """
    if (current := store.current_or_none()) is not None:
        print(f"version {current} stays current in {store.root}")
        return 0
    try:
        version = source.current()
        _prove(source, version, keys)
    except ArtifactError as error:
        print(f"store: nothing was taken over from {source.root}: {error}", file=sys.stderr)
        return 0
    if store.take_over(version, source):
        print(f"version {version} of {source.root} is current in {store.root}")
    else:
        print(f"the pointer of {store.root} stays as it is")
    return 0


def _verify(store: ArtifactStore, only: str | None, keys: Sequence[Ed25519PublicKey]) -> int:
    """Print what the API would say of one version, or of each and of the pointer; 1 if it refuses one."""
    refused = 0
    for version in [only] if only else store.versions():
        folder = store.existing(version)
        try:
            artifact = load_artifact(folder, version, keys)
        except ArtifactError as error:
            refused = 1
            print(f"refused  {version}: {error}")
        else:
            print(f"good     {version}, {_signature(artifact, folder)}")
    if only is None:
        try:
            store.existing(store.current())
        except ArtifactError as error:
            refused = 1
            print(f"refused  {_POINTER}: {error}")
    return refused


def _list(store: ArtifactStore, keys: Sequence[Ed25519PublicKey]) -> list[str]:
    """A line for each version, oldest first, with the current one marked."""
    versions, current = store.versions(), store.current_or_none()
    if not versions:
        raise ArtifactError(f"there is no version in {store.root}; train a model first, or name another --store.")
    width = max(map(len, versions))
    lines = [f"  {'version':<{width}}  {'trained at':<20}  accuracy  signature"]
    for version in versions:
        folder = store.folder(version)
        # Of a card that somebody changed nothing is shown.
        trained_at, accuracy = "?", "?"
        signature = ("verified" if keys else "not checked") if is_signed(folder) else "none"
        try:
            if is_signed(folder):
                read_card_bytes(folder, keys)
        except ArtifactError:
            signature = "refused"
        else:
            with suppress(ArtifactError):
                card = read_card(folder, version)
                # Whatever stands there must not steer the terminal.
                trained_at, accuracy = ascii(card.trained_at[:20])[1:-1], f"{card.metrics.accuracy:.4f}"
        mark = "*" if version == current else " "
        lines.append(f"{mark} {version:<{width}}  {trained_at:<20}  {accuracy:<8}  {signature}")
    return lines


def _signature(artifact: Artifact, folder: Path) -> str:
    if artifact.signature_verified:
        return "signature verified"
    return "signature not checked (no public key is set)" if is_signed(folder) else "not signed"


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--store",
        default=os.environ.get("MODEL_STORE") or "artifacts",
        help="folder of the artifact store (the environment's MODEL_STORE, if set)",
    )
    common.add_argument(
        "--public-key",
        metavar="KEY",
        default=os.environ.get("MODEL_PUBLIC_KEY", ""),
        help="refuse what is not signed by its owner: a PEM file or the key itself, several parted by commas"
        " (the environment's MODEL_PUBLIC_KEY, if set)",
    )
    parser = argparse.ArgumentParser(
        prog="python -m model_training.store",
        description="Look at the versions in the store and switch between them. A running API takes a switch up by"
        " itself, without a dropped request.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|activate|rollback|verify|seed")
    for name, summary, description in (
        ("list", "show every version", "Show every version with its signature; * marks the current one."),
        ("activate", "make a version current", "Prove a version as the API does, and make it current."),
        (
            "rollback",
            "go back to the version that was current before",
            "Prove the version that was current before this one, and make it current again. Each further roll-back"
            " goes one step further back; to go forward again, activate a version by its name.",
        ),
        (
            "verify",
            "prove one version or all",
            "Open one version, or each, as the API does, and print the outcome; the status is 1 if one is refused.",
        ),
        (
            "seed",
            "take over another store's current version, if this one has none",
            "Prove the current version of another store, copy it here and make it current, unless something is"
            " current here already. The status is 0, too, when it is refused and nothing is taken over.",
        ),
    ):
        command = commands.add_parser(
            name,
            help=summary,
            description=description,
            parents=[common],
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        if name == "activate":
            command.add_argument("version", metavar="VERSION", help="a name that `list` shows")
        elif name == "seed":
            command.add_argument("source", metavar="FROM", help="folder of the other store")
        elif name == "verify":
            command.add_argument("version", metavar="VERSION", nargs="?", help="a name that `list` shows; all without")
    return parser


if __name__ == "__main__":
    sys.exit(main())
