"""Follow MLflow's alias `champion`: fetch its version into the store, verify it, and make it current.

The store is a cache, and the other modules know only the store: a registry that is unreachable, slow or wrong does not
change the served model. Of all processes that share a store, one at a time polls the registry.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flask_app import metrics
from model_artifact.errors import ArtifactError, RegistryError
from model_artifact.mlflow.registered_model import CHAMPION, MlflowModel, RegisteredModel
from model_artifact.store import ArtifactStore
from model_artifact.training_record import read_record, write_record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Seconds until a version is fetched again that was rejected or could not be fetched.
RETRY_SECONDS = 30.0

_LOCK = "registry.lock"

_log = logging.getLogger(__name__)


class RegistryFollower:
    """Polls the registry in a thread."""

    def __init__(
        self,
        model: MlflowModel,
        store: ArtifactStore,
        poll_seconds: float,
        public_keys: Sequence[Ed25519PublicKey] = (),
    ) -> None:
        self._model = model
        self._store = store
        self._poll_seconds = poll_seconds
        self._public_keys = public_keys
        self._lock: int | None = None
        # The alias's version that was tried last, its name in the store once verified, and when to try it again.
        self._number: str | None = None
        self._version: str | None = None
        self._retry_at = 0.0
        self._logged: tuple[str, str] | None = None

    def watch(self) -> None:
        """Poll in a thread until this process ends."""
        threading.Thread(target=self._run, name="registry-watch", daemon=True).start()

    def poll(self) -> None:
        """Read the registry and update the store; log errors of either."""
        try:
            model = self._model.read()
            self._follow(model)
            self._copy_record(model)
        except RegistryError as error:
            metrics.registry_up(self._model.name, False)
            self._log_change(logging.ERROR, "registry not followed", str(error))
        except ArtifactError as error:
            metrics.registry_up(self._model.name, True)
            metrics.registry_champion_rejected(self._model.name, True)
            self._log_change(logging.ERROR, "registry's champion rejected", str(error))
        except OSError as error:
            self._not_written(error)

    def _follow(self, model: RegisteredModel) -> None:
        """Make the alias's version current in the store."""
        number = model.alias(CHAMPION)
        if number != self._number:
            self._number, self._version, self._retry_at = number, None, 0.0
        if number is not None and self._version is None:
            if time.monotonic() < self._retry_at:
                return
            self._retry_at = time.monotonic() + RETRY_SECONDS
            artifact = self._model.fetch(self._model.version(number), self._store, self._public_keys)
            self._version = artifact.card.model_version
        metrics.registry_up(self._model.name, True)
        metrics.registry_champion_rejected(self._model.name, False)
        if self._version is not None and self._version != self._store.current_or_none():
            # A training that shares the store moves the alias and then the pointer, and may have moved both meanwhile.
            if self._model.read().alias(CHAMPION) != number:
                return
            self._store.activate(self._version)
        self._log_change(logging.INFO, "registry followed", self._version or "there is no champion yet")

    def _copy_record(self, model: RegisteredModel) -> None:
        """Copy the record of the last training into the store, where the metrics read it."""
        record = model.last_training()
        if record is not None and record != read_record(self._store.root):
            write_record(self._store.root, record)

    def _log_change(self, level: int, message: str, detail: str) -> None:
        """Log unless it repeats the last line."""
        if self._logged != (message, detail):
            self._logged = (message, detail)
            extra = {"registry": self._model.server.address, "detail": detail, "registry_version": self._number}
            _log.log(level, message, extra={**extra, "current": self._store.current_or_none()})

    def _not_written(self, error: OSError) -> None:
        metrics.registry_up(self._model.name, False)
        self._log_change(
            logging.ERROR, "model store not written", f"{error.filename or self._store.root}: {error.strerror}"
        )

    def _run(self) -> None:
        while True:
            try:
                if self._is_leader():
                    self.poll()
            # The thread must survive, or no later version would be served.
            except Exception:
                _log.exception("the poll of the registry failed")
            time.sleep(self._poll_seconds)

    def _is_leader(self) -> bool:
        """Return whether this process holds the lock, which it then keeps until it ends."""
        if self._lock is not None:
            return True
        try:
            self._store.root.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._store.root / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            self._not_written(error)
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if not isinstance(error, BlockingIOError):
                self._not_written(error)
            return False
        self._lock = lock
        return True
