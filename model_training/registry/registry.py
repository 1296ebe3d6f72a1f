"""Where versions are kept and which one is champion: the store of files, or MLflow (mlflow_registry.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from model_artifact.card import ModelCard
from model_artifact.pickling import Artifact, ArtifactError, load_artifact
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord, read_record, write_record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class RegistryError(Exception):
    """The registry cannot do what it was asked; the message is one sentence for an operator."""


class VersionRefused(RegistryError):
    """A version fails a check of the loader; the registry itself is well."""


class Registry(Protocol):
    """Every version lies in a store of files first; a registry makes it known and says which one serves."""

    def champion(self) -> Artifact | None:
        """The proved champion; None where there is none yet.

        Raises:
            VersionRefused: there is one, but it fails a check.
            RegistryError: it cannot be asked.
        """

    def register(self, card: ModelCard) -> None:
        """Make known the version that was written into the store; it is challenger until it is promoted.

        Raises:
            RegistryError: it cannot be reached.
        """

    def promote(self, version: str) -> None:
        """Prove a version and make it champion.

        Raises:
            RegistryError: there is no such version, it is refused, or the registry cannot be reached.
        """

    def roll_back(self) -> str:
        """Prove the champion before this one and make it champion again; returns its name.

        Raises:
            RegistryError: there is none, it is refused, or the registry cannot be reached.
        """

    def champion_version(self) -> str | None:
        """The champion's name, unproved; None where there is none.

        Raises:
            RegistryError: it cannot be asked.
        """

    def cards(self) -> list[ModelCard]:
        """The cards of all versions that can be read, newest first.

        Raises:
            RegistryError: it cannot be asked.
        """

    def record(self, record: TrainingRecord) -> None:
        """Keep how a training ended, in place of the one before.

        Raises:
            RegistryError: it cannot be written.
        """

    def last_training(self) -> TrainingRecord | None:
        """How the last training ended; None where that is not known.

        Raises:
            RegistryError: it cannot be asked.
        """


class StoreRegistry:
    """The store alone: its pointer names the champion."""

    def __init__(self, store: ArtifactStore, public_keys: Sequence[Ed25519PublicKey] = ()) -> None:
        self._store = store
        self._public_keys = public_keys

    def champion(self) -> Artifact | None:
        version = self.champion_version()
        return None if version is None else self._proved(version)

    def register(self, card: ModelCard) -> None:
        """Nothing to do: what lies in the store is known."""

    def promote(self, version: str) -> None:
        self._proved(version)
        try:
            self._store.activate(version)
        except OSError as error:
            raise self._not_written(error) from error

    def roll_back(self) -> str:
        try:
            version = self._store.previous()
            self._proved(version)
            self._store.roll_back(version)
        except ArtifactError as error:
            raise RegistryError(str(error)) from error
        except OSError as error:
            raise self._not_written(error) from error
        return version

    def champion_version(self) -> str | None:
        return self._store.current_or_none()

    def cards(self) -> list[ModelCard]:
        return self._store.cards(self._public_keys)

    def record(self, record: TrainingRecord) -> None:
        try:
            write_record(self._store.root, record)
        except OSError as error:
            raise self._not_written(error) from error

    def last_training(self) -> TrainingRecord | None:
        return read_record(self._store.root)

    def _not_written(self, error: OSError) -> RegistryError:
        return RegistryError(f"{self._store.root} cannot be written: {error.strerror}")

    def _proved(self, version: str) -> Artifact:
        try:
            return load_artifact(self._store.existing(version), version, self._public_keys)
        except ArtifactError as error:
            raise VersionRefused(f"version {version} is refused: {error}") from error


def open_registry(
    store: ArtifactStore, public_keys: Sequence[Ed25519PublicKey], environ: Mapping[str, str]
) -> Registry:
    """The registry that the environment names: MLflow where MLFLOW_TRACKING_URI is set, else the store alone.

    Raises:
        RegistryError: one of MLflow's variables cannot be used; the server is not asked yet.
    """
    if not environ.get("MLFLOW_TRACKING_URI", "").strip():
        return StoreRegistry(store, public_keys)
    from model_training.registry.mlflow_registry import MlflowRegistry

    return MlflowRegistry(store, public_keys, environ)
