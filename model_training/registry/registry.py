"""The registry of versions: it lists them and names the champion, the version that serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from model_artifact.card import ModelCard
from model_artifact.pickling import Artifact
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord
from model_training.registry.mlflow_registry import MlflowRegistry
from model_training.registry.store_registry import StoreRegistry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Registry(Protocol):
    """Training writes every version into a store first, and then registers it.

    Each method raises a RegistryError if the registry cannot be reached or written.
    """

    def champion(self) -> Artifact | None:
        """Verify and return the champion; None without one.

        Raises:
            VersionRejected: the champion fails a check.
        """

    def champion_version(self) -> str | None:
        """Return the champion's name without verifying it; None without one."""

    def register(self, card: ModelCard) -> None:
        """Register a version of the store; it is challenger until it is promoted."""

    def promote(self, version: str) -> None:
        """Verify a version and make it champion.

        Raises:
            VersionRejected: the version fails a check.
            RegistryError: there is no such version.
        """

    def roll_back(self) -> str:
        """Verify the previous champion, make it champion again and return its name.

        Raises:
            VersionRejected: the previous champion fails a check.
            RegistryError: there is no previous champion.
        """

    def cards(self) -> list[ModelCard]:
        """Return the cards of all versions, newest first; rejected cards are left out."""

    def record(self, record: TrainingRecord) -> None:
        """Replace the outcome of the last training."""

    def last_training(self) -> TrainingRecord | None:
        """Return the outcome of the last training; None if it is unknown."""


def open_registry(
    store: ArtifactStore, public_keys: Sequence[Ed25519PublicKey], environ: Mapping[str, str]
) -> Registry:
    """Return the registry in MLflow if MLFLOW_TRACKING_URI is set, else the store; send no request yet.

    MLflow's client reads its other variables, such as credentials, from the environment of the process.

    Raises:
        RegistryError: one of MLflow's variables is invalid, or its client is not installed.
    """
    if not environ.get("MLFLOW_TRACKING_URI", "").strip():
        return StoreRegistry(store, public_keys)
    return MlflowRegistry(store, public_keys, environ)
