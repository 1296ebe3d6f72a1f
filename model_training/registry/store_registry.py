"""The store alone as the registry: its pointer names the champion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from model_artifact.card import ModelCard
from model_artifact.errors import ArtifactError, RegistryError, VersionRejected
from model_artifact.pickling import Artifact, load_artifact
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord, read_record, write_record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class StoreRegistry:
    """See `registry.Registry`."""

    def __init__(self, store: ArtifactStore, public_keys: Sequence[Ed25519PublicKey] = ()) -> None:
        self._store = store
        self._public_keys = public_keys

    def champion(self) -> Artifact | None:
        version = self.champion_version()
        return None if version is None else self._verified(version)

    def champion_version(self) -> str | None:
        return self._store.current_or_none()

    def register(self, card: ModelCard) -> None:
        """Do nothing: the store has the version."""

    def promote(self, version: str) -> None:
        self._verified(version)
        with self._writing():
            self._store.activate(version)

    def roll_back(self) -> str:
        with self._writing():
            try:
                version = self._store.previous()
                self._verified(version)
                self._store.roll_back(version)
            except ArtifactError as error:
                raise RegistryError(str(error)) from error
        return version

    def cards(self) -> list[ModelCard]:
        return self._store.cards(self._public_keys)

    def record(self, record: TrainingRecord) -> None:
        with self._writing():
            write_record(self._store.root, record)

    def last_training(self) -> TrainingRecord | None:
        return read_record(self._store.root)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RegistryError(f"{self._store.root} cannot be written: {error.strerror}") from error

    def _verified(self, version: str) -> Artifact:
        try:
            return load_artifact(self._store.existing(version), version, self._public_keys)
        except ArtifactError as error:
            raise VersionRejected(f"version {version} is rejected: {error}") from error
