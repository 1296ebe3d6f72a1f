"""MLflow as the registry: a run and a version of the registered model for each version of the store.

The API follows the alias `champion` (registry_follower.py); the pointer of the store is set to the same version.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from model_artifact.card import ModelCard
from model_artifact.errors import ArtifactError, RegistryError, RegistryNotFoundError, VersionRejected
from model_artifact.mlflow.registered_model import (
    CARD_FILES,
    CHALLENGER,
    CHAMPION,
    HISTORY_TAG,
    LAST_TRAINING_TAG,
    VERSION_TAG,
    MlflowModel,
    ModelVersion,
    RegisteredModel,
)
from model_artifact.pickling import Artifact, read_card
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from model_training.registry.mlflow_writer import MlflowWriter

# Roll-backs in a row, as in a store.
_MAX_HISTORY = 100
# Of MLflow's client; the environment overrides each.
_CLIENT_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Enough for the server to store a large pickle.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",
    # MLflow's default of 7 takes minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    # A redirect could lead a request with credentials to another server.
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
    # The output of a training is for its report or its events.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


class MlflowRegistry:
    """See `registry.Registry`; reads go through the API's own client, which has shorter timeouts."""

    def __init__(
        self, store: ArtifactStore, public_keys: Sequence[Ed25519PublicKey], environ: Mapping[str, str]
    ) -> None:
        """
        Raises:
            RegistryError: one of MLflow's variables is invalid, or its client is not installed.
        """
        if find_spec("mlflow") is None:
            raise RegistryError("MLFLOW_TRACKING_URI is set, but mlflow-skinny is not installed")
        self._store = store
        self._public_keys = public_keys
        self._model = MlflowModel.from_environ(environ)
        self._uri = environ["MLFLOW_TRACKING_URI"].strip()
        self._experiment = environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or self._model.name
        # Cards of versions that are not in the store, by number and name: a download takes 40 ms.
        self._cards: dict[tuple[str, str], ModelCard] = {}

    @cached_property
    def _writer(self) -> MlflowWriter:
        for name, value in _CLIENT_DEFAULTS.items():
            os.environ.setdefault(name, value)
        # Imported at the first write: MLflow takes 2 s and 100 MB, and reads these variables while it is imported.
        from model_training.registry.mlflow_writer import MlflowWriter

        return MlflowWriter(self._uri, self._model.server.address, self._model.name, self._experiment)

    def champion(self) -> Artifact | None:
        number = self._model.read().alias(CHAMPION)
        return None if number is None else self._verified(self._model.version(number))

    def champion_version(self) -> str | None:
        number = self._model.read().alias(CHAMPION)
        return None if number is None else self._model.version(number).version_name

    def register(self, card: ModelCard) -> None:
        found = self._find(card.model_version)
        if found is None:
            number = self._writer.register(card, self._store.existing(card.model_version))
        else:
            number = found.version
        self._writer.set_alias(CHALLENGER, number)

    def promote(self, version: str) -> None:
        found = self._find(version)
        if found is None:
            raise RegistryError(
                f"{self._model.name} has no version {version} in MLflow at {self._model.server.address}"
            )
        self._verified(found)
        model = self._model.read()
        before = model.alias(CHAMPION)
        # Written before the alias, as in a store: a roll-back skips the champion itself at the end of the history.
        if before is not None and before != found.version:
            self._writer.set_tag(HISTORY_TAG, " ".join([*_history(model), before][-_MAX_HISTORY:]))
        self._make_champion(found, model)

    def roll_back(self) -> str:
        model = self._model.read()
        history = _history(model)
        current = model.alias(CHAMPION)
        while history:
            number = history.pop()
            if number == current:
                continue
            # Skips a version that was deleted.
            with suppress(RegistryNotFoundError):
                found = self._model.version(number)
                self._verified(found)
                self._make_champion(found, model)
                self._writer.set_tag(HISTORY_TAG, " ".join(history))
                return found.version_name
        raise RegistryError("no version was champion before this one; promote one by its name")

    def cards(self) -> list[ModelCard]:
        cards = []
        for found in self._model.versions():
            version = found.tag(VERSION_TAG)
            # Other projects' versions have no such tag.
            if version:
                with suppress(ArtifactError, RegistryNotFoundError):
                    cards.append(self._card(found, version))
        return sorted(cards, key=lambda card: card.model_version, reverse=True)

    def record(self, record: TrainingRecord) -> None:
        # A server that hangs fails here within seconds; MLflow's client would try for six minutes.
        self._model.read()
        # A first training that fails registers no version.
        self._writer.create_model()
        self._writer.set_tag(LAST_TRAINING_TAG, msgspec.json.encode(record).decode())

    def last_training(self) -> TrainingRecord | None:
        return self._model.read().last_training()

    def _card(self, found: ModelVersion, version: str) -> ModelCard:
        folder = self._store.folder(version)
        if folder.is_dir():
            return read_card(folder, version, self._public_keys)
        key = found.version, version
        if key not in self._cards:
            with tempfile.TemporaryDirectory() as name:
                self._model.download(found, Path(name), CARD_FILES)
                self._cards[key] = read_card(Path(name), version, self._public_keys)
        return self._cards[key]

    def _verified(self, found: ModelVersion) -> Artifact:
        try:
            return self._model.fetch(found, self._store, self._public_keys)
        except ArtifactError as error:
            raise VersionRejected(f"version {found.version_name} is rejected: {error}") from error
        except OSError as error:
            raise RegistryError(f"{self._store.root} cannot be written: {error.strerror}") from error

    def _find(self, version: str) -> ModelVersion | None:
        return next((found for found in self._model.versions() if found.tag(VERSION_TAG) == version), None)

    def _make_champion(self, found: ModelVersion, model: RegisteredModel) -> None:
        self._writer.set_alias(CHAMPION, found.version)
        if model.alias(CHALLENGER) == found.version:
            self._writer.delete_alias(CHALLENGER)
        # An API that shares this store switches without waiting for its next poll of MLflow.
        try:
            self._store.activate(found.version_name)
        except (ArtifactError, OSError) as error:
            raise RegistryError(
                f"{found.version_name} is champion, but not current in {self._store.root}: {error}"
            ) from error


def _history(model: RegisteredModel) -> list[str]:
    return model.tag(HISTORY_TAG).split()
