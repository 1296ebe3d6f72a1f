"""The loaded model, replaced atomically when the store points to another version."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flask import g

from flask_app import metrics
from flask_app.rows.row_schema import RowSchema
from flask_app.rows.rows_decoder import RowsDecoder
from http_service.problems import Problem
from model_artifact.errors import ArtifactError
from model_artifact.pickling import CARD_FILE, MODEL_FILE, Artifact, load_artifact
from model_artifact.signature import SIGNATURE_FILE
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord, read_record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Gunicorn kills a worker that does not boot within 30 s: on a slow disk it starts without a model instead.
FIRST_POLL_SECONDS = 10.0

# A rejected version is tried again even if its files did not change: a network volume may fail temporarily, and its
# time stamps may be too coarse to show a repaired file.
RETRY_SECONDS = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedModel:
    """An artifact that passed every check, with what the API derives from its card."""

    artifact: Artifact
    row_schema: RowSchema
    rows_decoder: RowsDecoder

    @property
    def version(self) -> str:
        """Return the version's name."""
        return self.artifact.card.model_version

    @property
    def signature(self) -> Literal["verified", "not checked"]:
        """Return whether the signature was verified, which needs a configured public key."""
        return "verified" if self.artifact.signature_verified else "not checked"


class ModelHolder:
    """Keeps the store's current version loaded; an invalid version never replaces the loaded one.

    One thread calls `refresh`; any thread may read `served`, a single reference: a request that read it uses one model
    to its end.
    """

    def __init__(
        self,
        store: ArtifactStore,
        poll_seconds: float,
        public_keys: Sequence[Ed25519PublicKey] = (),
        *,
        serves: bool = True,
    ) -> None:
        """public_keys: if any, a model must be signed with one of them; serves: count its loads in the metrics."""
        self._store = store
        self._poll_seconds = poll_seconds
        self._public_keys = public_keys
        self._serves = serves
        self._seen: object = None
        self._retry_at = math.inf
        self._first_poll = threading.Event()
        self._stop = threading.Event()
        self.served: ServedModel | None = None
        self.rejection: str | None = None
        self.last_training: TrainingRecord | None = None

    def require(self) -> ServedModel:
        """Return the model for this request.

        Raises:
            Problem: 503 with the reason if no model is loaded.
        """
        served = self.served
        if served is None:
            detail = f"No model is loaded: {self.rejection or 'the first one is loading.'}"
            raise Problem(503, detail, headers={"Retry-After": str(max(1, round(self._poll_seconds)))})
        g.model_version = served.version
        return served

    def refresh(self) -> None:
        """Load the current version unless it was tried already; never raise for an invalid store or artifact.

        The state is taken before the files are read, so that the next poll sees a change in between.
        """
        # Here, since a scrape must not wait for a volume that hangs.
        self.last_training = read_record(self._store.root)
        try:
            version = self._store.current()
            folder = self._store.folder(version)
            state: object = (version, _fingerprint(folder))
        except ArtifactError as error:
            version, state = None, str(error)
        if state == self._seen and time.monotonic() < self._retry_at:
            return
        is_new = state != self._seen
        self._seen = state
        self._retry_at = math.inf
        try:
            if version is None:
                raise ArtifactError(str(state))
            artifact = load_artifact(folder, version, self._public_keys)
            features = artifact.card.features
            served = ServedModel(artifact, RowSchema(features), RowsDecoder(features))
        except Exception as error:
            if version is not None:
                self._retry_at = time.monotonic() + RETRY_SECONDS
            self._reject(error, is_new)
            return
        previous = self.served
        self.served = served
        self.rejection = None
        if self._serves:
            metrics.model_loaded(artifact.card, previous.artifact.card if previous else None)
        _log.info(
            "model loaded",
            extra={
                "model_version": version,
                "model_name": artifact.card.model_name,
                "model_sha256": artifact.card.artifact.sha256,
                "signature": served.signature,
                "predictor": artifact.card.predictor,
            },
        )

    def watch(self) -> None:
        """Refresh in a thread until `stop`; return after the first refresh, or FIRST_POLL_SECONDS."""
        threading.Thread(target=self._poll, name="model-watch", daemon=True).start()
        self._first_poll.wait(FIRST_POLL_SECONDS)

    def stop(self) -> None:
        """Stop the thread of `watch`."""
        self._stop.set()

    def _poll(self) -> None:
        while not self._stop.is_set():
            try:
                self.refresh()
            # The thread must survive, or no later version would be served.
            except Exception:
                _log.exception("the poll of the model store failed")
            self._first_poll.set()
            self._stop.wait(min(self._poll_seconds, threading.TIMEOUT_MAX))

    def _reject(self, error: Exception, is_new: bool) -> None:
        """Log once why a version is not served; is_new is False for another attempt with the same files."""
        is_known = isinstance(error, ArtifactError)
        reason = (
            str(error) if is_known else f"the model cannot be opened ({type(error).__name__}); the log has the trace."
        )
        if self._serves:
            metrics.model_rejected()
        if is_new or reason != self.rejection:
            served = self.served
            _log.error(
                "model rejected",
                extra={"reason": reason, "still_serving": served.version if served else None},
                exc_info=None if is_known else error,
            )
        self.rejection = reason


def _fingerprint(folder: Path) -> tuple[object, ...]:
    """Return a value that changes when a file is replaced, written or gets other permissions.

    It excludes the inode number, which some network volumes change at each poll.
    """
    states: list[object] = []
    for name in (CARD_FILE, SIGNATURE_FILE, MODEL_FILE):
        try:
            status = (folder / name).stat()
        except OSError as error:
            states.append(error.errno)
        else:
            states.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(states)
