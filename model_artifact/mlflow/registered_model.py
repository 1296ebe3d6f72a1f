"""A registered model of MLflow as this project keeps it: aliases, tags, versions, and their files fetched into a store.

A version of MLflow has a number there; its tag `model_version` is the name that it has in a store.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from model_artifact.mlflow.client import NotThere, TrackingServer
from model_artifact.pickling import (
    CARD_FILE,
    MAX_CARD_BYTES,
    MAX_MODEL_BYTES,
    MAX_SIGNATURE_BYTES,
    MODEL_FILE,
    Artifact,
    load_artifact,
)
from model_artifact.signature import SIGNATURE_FILE
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord
from model_training.registry.registry import RegistryError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

DEFAULT_NAME = "tabular-model"
CHAMPION = "champion"
CHALLENGER = "challenger"
VERSION_TAG = "model_version"
LAST_TRAINING_TAG = "last_training"
# Numbers of the versions that were champion before, the last one at the end: where a roll-back goes.
HISTORY_TAG = "champion_history"

# Seconds for one file.
DOWNLOAD_SECONDS = 600.0

CARD_FILES = {CARD_FILE: MAX_CARD_BYTES, SIGNATURE_FILE: MAX_SIGNATURE_BYTES}
FILES = {**CARD_FILES, MODEL_FILE: MAX_MODEL_BYTES}
_SCHEME = "mlflow-artifacts"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}")


class _Tag(msgspec.Struct):
    key: str
    value: str = ""


class _Alias(msgspec.Struct):
    alias: str
    version: str


class _Tagged(msgspec.Struct):
    name: str
    tags: list[_Tag] = []

    def tag(self, key: str) -> str:
        """The tag's value; empty where it has none."""
        return next((tag.value for tag in self.tags if tag.key == key), "")


class RegisteredModel(_Tagged):
    """Everything of a registered model but its versions."""

    aliases: list[_Alias] = []

    def alias(self, alias: str) -> str | None:
        """The number of the version that has it."""
        return next((found.version for found in self.aliases if found.alias == alias), None)

    def last_training(self) -> TrainingRecord | None:
        """How the last training ended; None where no tag says so in a way that can be read."""
        with suppress(msgspec.MsgspecError, UnicodeError):
            return msgspec.json.decode(self.tag(LAST_TRAINING_TAG), type=TrainingRecord)
        return None


class ModelVersion(_Tagged, kw_only=True):
    """A version: its number is in `version`, where its files lie in `source`."""

    version: str
    source: str = ""

    @property
    def version_name(self) -> str:
        """Its name in a store.

        Raises:
            RegistryError: it has none.
        """
        name = self.tag(VERSION_TAG)
        if not name:
            raise RegistryError(
                f"version {self.version} of {self.name} has no tag {VERSION_TAG}: it was not registered by"
                " model_training.train"
            )
        return name


class _RegisteredModelAnswer(msgspec.Struct):
    registered_model: RegisteredModel


class _ModelVersionAnswer(msgspec.Struct):
    model_version: ModelVersion


class _ModelVersionsAnswer(msgspec.Struct):
    model_versions: list[ModelVersion] = []
    next_page_token: str = ""


class MlflowModel:
    """Reads a registered model; what changes one is in mlflow_registry.py."""

    def __init__(self, server: TrackingServer, name: str) -> None:
        self.server = server
        self.name = name

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> MlflowModel:
        """The model MLFLOW_MODEL_NAME, or `tabular-model`, on the server of MLFLOW_TRACKING_URI.

        Raises:
            RegistryError: the name, or a variable of the server's, cannot be used.
        """
        name = environ.get("MLFLOW_MODEL_NAME", "").strip() or DEFAULT_NAME
        if not _NAME.fullmatch(name):
            raise RegistryError(
                f"MLFLOW_MODEL_NAME={name[:140]!a} cannot be used: it is up to 128 letters, digits, blanks and ._-"
            )
        return cls(TrackingServer.from_environ(environ), name)

    def read(self) -> RegisteredModel:
        """Its aliases and tags; without any if it is not registered yet.

        Raises:
            RegistryError: the server cannot be asked.
        """
        try:
            return self.server.get("registered-models/get", _RegisteredModelAnswer, name=self.name).registered_model
        except NotThere:
            return RegisteredModel(name=self.name)

    def version(self, number: str) -> ModelVersion:
        """One version by its number.

        Raises:
            NotThere: there is none.
            RegistryError: the server cannot be asked.
        """
        answer = self.server.get("model-versions/get", _ModelVersionAnswer, name=self.name, version=number)
        return answer.model_version

    def versions(self) -> Iterator[ModelVersion]:
        """All versions, newest first.

        Raises:
            RegistryError: the server cannot be asked.
        """
        query = {"filter": f"name='{self.name}'", "order_by": "version_number DESC", "max_results": "200"}
        while True:
            page = self.server.get("model-versions/search", _ModelVersionsAnswer, **query)
            yield from page.model_versions
            if not page.next_page_token:
                return
            query["page_token"] = page.next_page_token

    def fetch(
        self, found: ModelVersion, store: ArtifactStore, public_keys: Sequence[Ed25519PublicKey] = ()
    ) -> Artifact:
        """The version, proved; its files are in the store afterwards, if it was not refused.

        Raises:
            ArtifactError: it is refused.
            RegistryError: the server cannot be asked, or what it has is none of this project's versions.
            OSError: the store cannot be written.
        """
        name = found.version_name
        if store.folder(name).is_dir():
            return load_artifact(store.folder(name), name, public_keys)
        with store.new_version(name) as folder:
            self.download(found, folder, FILES)
            return load_artifact(folder, name, public_keys)

    def download(self, found: ModelVersion, folder: Path, wanted: Mapping[str, int]) -> None:
        """Fetch those of the version's files that there are; wanted has the most bytes of each.

        Raises:
            RegistryError: the server cannot be asked or does not hand them out, or a file is too large.
            OSError: the folder cannot be written.
        """
        path = artifact_path(found.source)
        there = {name.rpartition("/")[2] for name in self.server.files(path)}
        for name, max_bytes in wanted.items():
            if name in there:
                self.server.download(f"{path}/{name}", folder / name, max_bytes, DOWNLOAD_SECONDS)


def artifact_path(uri: str) -> str:
    """Where the server hands out what lies at `mlflow-artifacts:/PATH`.

    Raises:
        RegistryError: it lies where only somebody else could fetch it.
    """
    parts = urllib.parse.urlsplit(uri)
    path = parts.path.strip("/")
    if parts.scheme != _SCHEME or parts.netloc or not path or ".." in path.split("/"):
        raise RegistryError(
            f"MLflow keeps files at {parts.scheme or 'no'}:{parts.path}, not behind its own address: start the server"
            " with --serve-artifacts, and register in a new experiment (MLFLOW_EXPERIMENT_NAME)"
        )
    return path
