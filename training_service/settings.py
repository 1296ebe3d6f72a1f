"""Every setting of the training service, read from the environment in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args, get_type_hints

import msgspec

from model_artifact.signature import SigningError, read_public_keys
from model_artifact.store import ArtifactStore
from model_training.registry.registry import Registry, RegistryError, open_registry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
# Below that, Python alone does not start.
Megabytes = Annotated[int, msgspec.Meta(ge=64)]


class SettingsError(Exception):
    """A setting cannot be used; the message names it and says what it may be."""


class Settings(msgspec.Struct, frozen=True):
    """The environment variable is the field's name in capitals."""

    bind_address: str = "127.0.0.1"
    """Address that Gunicorn listens on; 0.0.0.0 in a container."""
    training_api_port: Port = 5001
    """Port that Gunicorn listens on."""
    admin_token: str = ""
    """The token that every request needs, but for the probes; empty: the one in `admin_token_file`."""
    admin_token_file: str = ""
    """File with the token, read at each request; where there is none it is made at the start, readable by its owner
    alone; empty: `admin-token` in `training_dir`."""
    training_dir: str = ".run/training"
    """Folder for jobs, their log and uploaded tables, on a disk of this machine (SQLite and NFS do not agree)."""
    model_store: str = "artifacts"
    """Folder of the artifact store."""
    model_public_key: str = ""
    """Ed25519 keys, as PEM files or text: what none of their owners signed is not activated."""
    job_seconds: Positive = 3600
    """A training that takes longer is stopped."""
    inspect_seconds: Positive = 300
    """The same for reading and checking a table."""
    job_memory_mb: Megabytes = 4096
    """Memory of a job in MB (RLIMIT_DATA, which Linux keeps): what needs more fails."""
    inspect_memory_mb: Megabytes = 1536
    """The same for reading and checking a table: two may go on beside the job."""
    queue_length: Positive = 5
    """Jobs that may wait while one runs."""
    max_table_bytes: Positive = 1_073_741_824
    """Largest uploaded table."""
    graceful_timeout_seconds: Positive = 20
    """Seconds that requests under way get when the service is told to stop; a running job is interrupted."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""

    @property
    def token_file(self) -> Path:
        """`admin_token_file`, or its place if it is empty."""
        return Path(self.admin_token_file) if self.admin_token_file else self.folder / "admin-token"

    @property
    def folder(self) -> Path:
        """`training_dir`, absolute."""
        return Path(self.training_dir).resolve()

    def public_keys(self) -> tuple[Ed25519PublicKey, ...]:
        """The keys of `model_public_key`; none if it is empty.

        Raises:
            SettingsError: they cannot be read.
        """
        try:
            return read_public_keys(self.model_public_key)
        except SigningError as error:
            raise SettingsError(f"MODEL_PUBLIC_KEY cannot be used: {error}") from None

    def registry(self) -> Registry:
        """The registry of the store, or the one that the environment names for it.

        Raises:
            SettingsError: a key, or a variable of the registry's, cannot be used.
        """
        try:
            return open_registry(ArtifactStore(self.model_store), self.public_keys(), os.environ)
        except RegistryError as error:
            raise SettingsError(str(error)) from None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings; a variable that is unset or empty leaves the default.

        Raises:
            SettingsError: a value is of the wrong type or out of range.
        """
        given = {name: environ[name.upper()].strip() for name in cls.__struct_fields__ if environ.get(name.upper())}
        if "log_level" in given:
            given["log_level"] = given["log_level"].lower()
        for name, value in given.items():
            try:
                msgspec.convert({name: value}, cls, strict=False)
            except msgspec.ValidationError as error:
                choices = get_args(get_type_hints(cls)[name])
                expected = f"it is one of {', '.join(choices)}" if choices else str(error).split(" - at ")[0]
                raise SettingsError(f"{name.upper()}={value!r} cannot be used: {expected}.") from None
        return msgspec.convert(given, cls, strict=False)
