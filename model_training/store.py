"""A folder of artifact versions and one pointer to the current one.

artifacts/
  current               the name of the version to serve
  versions/
    20261121-073107-3f2a9c1d/
      iris_model.pkl
      model_card.json
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from model_training.artifact import ArtifactError
from model_training.schema import Version

_POINTER = "current"
_VERSIONS = "versions"


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

    def versions(self) -> list[str]:
        """Names of all versions, oldest first (a name starts with its time of training)."""
        folder = self.root / _VERSIONS
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))

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
        """Make a version current.

        Raises:
            ArtifactError: there is no such version.
        """
        if not self.folder(version).is_dir():
            raise ArtifactError(f"the store has no version {version}; it has: {', '.join(self.versions()) or 'none'}.")
        with tempfile.NamedTemporaryFile("w", dir=self.root, prefix=".current-", delete=False) as file:
            file.write(version + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A temporary file is its owner's alone, and the API may run as somebody else.
        os.chmod(file.name, 0o644)
        os.replace(file.name, self.root / _POINTER)

    @contextmanager
    def new_version(self, version: str) -> Iterator[Path]:
        """A folder to fill; it becomes the version when the block ends without an error, else nothing is left.

        Raises:
            ArtifactError: the version exists.
        """
        target = self.folder(version)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".incoming-", ignore_cleanup_errors=True) as name:
            filling = Path(name) / "version"
            filling.mkdir()
            yield filling
            for file in filling.iterdir():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
            try:
                # Of two writers of one name the second fails here: a folder that holds files is not replaced.
                os.rename(filling, target)
            except OSError as error:
                raise ArtifactError(f"version {version} exists already in {self.root}.") from error
