"""Every setting of the API, read from the environment in one place."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import msgspec

from model_artifact.signature import SigningError, read_public_keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from model_artifact.mlflow.registered_model import MlflowModel

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class SettingsError(Exception):
    """A setting cannot be used; the message names it and says what it may be."""


class Settings(msgspec.Struct, frozen=True):
    """The environment variable is the field's name in capitals."""

    bind_address: str = "127.0.0.1"
    """Address that Gunicorn listens on; 0.0.0.0 in a container."""
    api_port: Port = 5000
    """Port that Gunicorn listens on."""
    web_concurrency: Positive = 2
    """Worker processes: as many as cores that the API may use, never the machine's count inside a container."""
    threads: Positive = 4
    """Threads of a worker; more than one keeps /health answering while a prediction runs."""
    model_store: str = "artifacts"
    """Folder of the artifact store."""
    model_poll_seconds: Seconds = 1.0
    """Seconds between two looks at the store's pointer."""
    model_public_key: str = ""
    """Ed25519 keys, as PEM files or text: what none of their owners signed is refused; empty: no signature needed."""
    mlflow_tracking_uri: str = ""
    """Address of an MLflow server whose champion is followed; the store is then the cache, and has to be writable."""
    mlflow_model_name: str = "tabular-model"
    """Name of the registered model there."""
    registry_poll_seconds: Seconds = 5.0
    """Seconds between two looks at the MLflow server."""
    model_track: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "champion"
    """What the header X-Model-Track of every answer says: which of several models this is."""
    shadow_of: str = ""
    """Folder of the champion's artifact store: predictions are compared to its model's, and agreement is counted."""
    max_body_bytes: Positive = 4_194_304
    """Largest body of a request, but for files; Nginx has the same limit under the same name."""
    max_rows: Positive = 100_000
    """Most rows in one JSON request."""
    max_file_bytes: Positive = 1_073_741_824
    """Largest CSV, Arrow or Parquet file; Nginx has the same limit under the same name."""
    spool_dir: str = "/var/tmp"  # noqa: S108 # Unlike /tmp, a disk on every system.
    """Folder for files under way, on a disk; a file has no name in it and goes with its request."""
    graceful_timeout_seconds: Positive = 20
    """Seconds that requests under way get when the API is told to stop."""
    keepalive_seconds: Positive = 75
    """Seconds that an idle connection is kept; above Nginx's 60, or Nginx writes into a connection just closed."""
    api_keys: str = ""
    """API keys as id:sha256hex, separated by commas or spaces; with none here and no file, no request needs a key."""
    api_keys_file: str = ""
    """File with more such keys, read anew when it changes."""
    prometheus_multiproc_dir: str = ""
    """Folder for the workers' metrics; empty: a fresh one in memory. What an earlier run left in it is removed."""
    fast_lane: Literal["on", "off"] = "on"
    """Whether single rows are answered without Flask, with the same bytes at a fraction of the time."""
    log_format: Literal["json", "text"] = "json"
    """One JSON object a line, or lines for people."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""

    def public_keys(self) -> "tuple[Ed25519PublicKey, ...]":
        """The keys of `model_public_key`; none if it is empty.

        Raises:
            SettingsError: they cannot be read: nothing is served rather than something unsigned.
        """
        try:
            return read_public_keys(self.model_public_key)
        except SigningError as error:
            raise SettingsError(f"MODEL_PUBLIC_KEY cannot be used: {error}") from None

    def registered_model(self) -> "MlflowModel | None":
        """The model of `mlflow_tracking_uri` to follow; None without one. What MLflow's own variables say is heeded.

        Raises:
            SettingsError: the address, the name or one of those variables cannot be used.
        """
        if not self.mlflow_tracking_uri:
            return None
        # Only here: TLS and HTTP cost each worker some MB.
        from model_artifact.mlflow.registered_model import MlflowModel
        from model_training.registry.registry import RegistryError

        environ = {
            **os.environ,
            "MLFLOW_TRACKING_URI": self.mlflow_tracking_uri,
            "MLFLOW_MODEL_NAME": self.mlflow_model_name,
        }
        try:
            return MlflowModel.from_environ(environ)
        except RegistryError as error:
            raise SettingsError(f"{error}.") from None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
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
                expected = str(error).split(" - at ")[0]
                choices = get_args(cls.__annotations__[name])
                if choices and all(isinstance(choice, str) for choice in choices):
                    expected = f"it is one of {', '.join(choices)}"
                raise SettingsError(f"{name.upper()}={value!r} cannot be used: {expected}.") from None
        return msgspec.convert(given, cls, strict=False)
