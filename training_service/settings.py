"""Every setting of the training service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from http_service.settings import Port, Positive, ServiceSettings, SettingsError
from model_artifact.signature import SigningError, read_public_keys
from model_artifact.store import ArtifactStore
from model_training.registry.registry import Registry, RegistryError, open_registry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Python does not start with less.
Megabytes = Annotated[int, msgspec.Meta(ge=64)]


class TrainingServiceSettings(ServiceSettings, frozen=True):
    """The environment variable is the field's name in capitals."""

    training_api_port: Port = 5001
    """Port that Gunicorn listens on."""
    admin_token: str = ""
    """Token that every request except a probe needs; empty: the token in `admin_token_file`."""
    admin_token_file: str = ""
    """File with the token, read at each request; the service creates a missing one, readable only by its owner;
    empty: `admin-token` in `training_dir`."""
    training_dir: str = ".run/training"
    """Folder for jobs, their logs and uploaded tables, on a local disk (SQLite does not work reliably on NFS)."""
    model_store: str = "artifacts"
    """Folder of the artifact store."""
    model_public_key: str = ""
    """Ed25519 keys, as PEM files or text: a model must be signed with one of them to be activated."""
    job_seconds: Positive = 3600
    """Seconds after which a training is stopped."""
    inspect_seconds: Positive = 300
    """Seconds after which reading and checking a table is stopped."""
    job_memory_mb: Megabytes = 4096
    """Memory limit of a job in MB (RLIMIT_DATA, which only Linux enforces)."""
    inspect_memory_mb: Megabytes = 1536
    """Memory limit in MB for reading and checking a table; two checks may run beside a job."""
    queue_length: Positive = 5
    """Jobs that may wait while one runs."""
    max_table_bytes: Positive = 1_073_741_824
    """Largest uploaded table."""

    @property
    def token_file(self) -> Path:
        """Return `admin_token_file`, or its default place if it is empty."""
        return Path(self.admin_token_file) if self.admin_token_file else self.folder / "admin-token"

    @property
    def folder(self) -> Path:
        """Return `training_dir` as an absolute path."""
        return Path(self.training_dir).resolve()

    def public_keys(self) -> tuple[Ed25519PublicKey, ...]:
        """Return the keys of `model_public_key`; none if it is empty.

        Raises:
            SettingsError: the keys cannot be read.
        """
        try:
            return read_public_keys(self.model_public_key)
        except SigningError as error:
            raise SettingsError(f"MODEL_PUBLIC_KEY cannot be used: {error}") from None

    def registry(self) -> Registry:
        """Return the registry of the store, or the one that the environment names.

        Raises:
            SettingsError: a key or a variable of the registry is invalid.
        """
        try:
            return open_registry(ArtifactStore(self.model_store), self.public_keys(), os.environ)
        except RegistryError as error:
            raise SettingsError(str(error)) from None
