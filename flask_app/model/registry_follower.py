"""Follow MLflow's alias `champion`: what it points to is brought into the store, proved, and made current there.

The store is the cache, and the only thing that the rest of the API knows: a registry that is away, slow or wrong
changes nothing of what is served. Of all processes that share a store, one at a time asks the registry.
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
from model_artifact.mlflow.registered_model import CHAMPION, MlflowModel, RegisteredModel
from model_artifact.pickling import ArtifactError
from model_artifact.store import ArtifactStore
from model_artifact.training_record import read_record, write_record
from model_training.registry.registry import RegistryError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Seconds until a version that was refused, or did not arrive, is fetched again.
RETRY_SECONDS = 30.0

_LOCK = "registry.lock"

_log = logging.getLogger(__name__)


class RegistryFollower:
    """One thread of a process; `look` is all that it does, over and over."""

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
        # The alias's version that was tried last, its name in the store once it is proved, and when to try it again.
        self._number: str | None = None
        self._version: str | None = None
        self._retry_at = 0.0
        self._said: tuple[str, str] | None = None

    def watch(self) -> None:
        """Look in a thread of this process for as long as it lives."""
        threading.Thread(target=self._poll, name="registry-watch", daemon=True).start()

    def look(self) -> None:
        """Ask the registry, and bring the store to what it says; never raises for what may be wrong with either."""
        try:
            model = self._model.read()
            self._follow(model)
            self._copy_record(model)
        except RegistryError as error:
            metrics.registry_up(self._model.name, False)
            self._say(logging.ERROR, "registry not followed", str(error))
        except ArtifactError as error:
            metrics.registry_up(self._model.name, True)
            metrics.registry_champion_refused(self._model.name, True)
            self._say(logging.ERROR, "registry's champion refused", str(error))
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
        metrics.registry_champion_refused(self._model.name, False)
        if self._version is not None and self._version != self._store.current_or_none():
            # A training that shares the store moves first the alias and then the pointer, and may have done so since.
            if self._model.read().alias(CHAMPION) != number:
                return
            self._store.activate(self._version)
        self._say(logging.INFO, "registry followed", self._version or "there is no champion yet")

    def _copy_record(self, model: RegisteredModel) -> None:
        """Keep how the last training ended where the metrics look for it."""
        record = model.last_training()
        if record is not None and record != read_record(self._store.root):
            write_record(self._store.root, record)

    def _say(self, level: int, message: str, detail: str) -> None:
        """Log what is new."""
        if self._said != (message, detail):
            self._said = (message, detail)
            _log.log(
                level,
                message,
                extra={
                    "registry": self._model.server.address,
                    "detail": detail,
                    "registry_version": self._number,
                    "current": self._store.current_or_none(),
                },
            )

    def _not_written(self, error: OSError) -> None:
        metrics.registry_up(self._model.name, False)
        self._say(logging.ERROR, "model store not written", f"{error.filename or self._store.root}: {error.strerror}")

    def _poll(self) -> None:
        while True:
            try:
                if self._leads():
                    self.look()
            # The thread must outlive whatever happens, or no later version would ever be followed.
            except Exception:
                _log.exception("the look at the registry failed")
            time.sleep(self._poll_seconds)

    def _leads(self) -> bool:
        """Whether this process is the one that asks; it stays that until it ends."""
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
