"""Every setting of the API."""

import os
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from http_service.settings import Port, Positive, ServiceSettings, SettingsError
from model_artifact.signature import SigningError, read_public_keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from model_artifact.mlflow.registered_model import MlflowModel

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class ApiSettings(ServiceSettings, frozen=True):
    """The environment variable is the field's name in capitals."""

    api_port: Port = 5000
    """Port that Gunicorn listens on."""
    web_concurrency: Positive = 2
    """Worker processes: one for each core that the API may use, which in a container is less than the machine has."""
    threads: Positive = 4
    """Threads of a worker; with more than one, /health answers while a prediction runs."""
    model_store: str = "artifacts"
    """Folder of the artifact store."""
    model_poll_seconds: Seconds = 1.0
    """Seconds between two polls of the store's pointer."""
    model_public_key: str = ""
    """Ed25519 keys, as PEM files or text: a model must be signed with one of them; empty: no signature is needed."""
    mlflow_tracking_uri: str = ""
    """Address of an MLflow server whose champion the API serves; the store is then a cache and must be writable."""
    mlflow_model_name: str = "tabular-model"
    """Name of the registered model in MLflow."""
    registry_poll_seconds: Seconds = 5.0
    """Seconds between two polls of the MLflow server."""
    model_track: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "champion"
    """Value of the header X-Model-Track on every answer: champion, challenger or another name."""
    shadow_of: str = ""
    """Folder of the champion's artifact store; this API counts how often its predictions agree with that model's."""
    max_body_bytes: Positive = 4_194_304
    """Largest request body that is not a file; Nginx has the same limit under the same name."""
    max_rows: Positive = 100_000
    """Most rows in one JSON request."""
    max_file_bytes: Positive = 1_073_741_824
    """Largest CSV, Arrow or Parquet file; Nginx has the same limit under the same name."""
    spool_dir: str = "/var/tmp"  # noqa: S108 # Unlike /tmp, a disk on every system.
    """Folder on a disk for the files of running requests; a file has no name and is gone with its request."""
    keepalive_seconds: Positive = 75
    """Seconds that an idle connection stays open; above Nginx's 60, or Nginx uses a connection that just closed."""
    api_keys: str = ""
    """API keys as id:sha256hex, separated by commas or spaces; without keys and file, no request needs a key."""
    api_keys_file: str = ""
    """File with more such keys, read again when it changes."""
    prometheus_multiproc_dir: str = ""
    """Folder for the workers' metrics, emptied at the start; empty: a new folder in memory."""
    fast_lane: Literal["on", "off"] = "on"
    """The fast path answers single rows without Flask, with the same bytes in a fraction of the time."""

    def public_keys(self) -> "tuple[Ed25519PublicKey, ...]":
        """Return the keys of `model_public_key`; none if it is empty.

        Raises:
            SettingsError: the keys cannot be read.
        """
        try:
            return read_public_keys(self.model_public_key)
        except SigningError as error:
            raise SettingsError(f"MODEL_PUBLIC_KEY cannot be used: {error}") from None

    def registered_model(self) -> "MlflowModel | None":
        """Return the model of `mlflow_tracking_uri`; None without one. MLflow's own variables apply.

        Raises:
            SettingsError: the address, the name or one of MLflow's variables is invalid.
        """
        if not self.mlflow_tracking_uri:
            return None
        # Imported here: TLS and HTTP take some MB of each worker.
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
