"""The model that answers now, exchanged whole when the store points to another version."""

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
from model_artifact.pickling import CARD_FILE, MODEL_FILE, Artifact, ArtifactError, load_artifact
from model_artifact.signature import SIGNATURE_FILE
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord, read_record

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# Gunicorn kills a worker that is not up after 30 s, over and over: on a slow disk it starts without a model instead.
FIRST_LOOK_SECONDS = 10.0

# A refused version whose files did not change is tried again then: a network volume fails for a moment, and its times
# may be too coarse to tell that a file was mended.
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
        """The version's name, as answers and logs give it."""
        return self.artifact.card.model_version

    @property
    def signature(self) -> Literal["verified", "not checked"]:
        """Whether a public key was configured when the model was loaded, and so its signature verified."""
        return "verified" if self.artifact.signature_verified else "not checked"


class ModelHolder:
    """Keeps the store's current version loaded; what it cannot load never replaces what serves.

    One thread calls `refresh`; any number may read `served`, which is one reference, set in one step: a request that
    took it keeps one model to its end.
    """

    def __init__(
        self,
        store: ArtifactStore,
        poll_seconds: float,
        public_keys: Sequence[Ed25519PublicKey] = (),
        *,
        serves: bool = True,
    ) -> None:
        """public_keys: with any, only what one of their owners signed is loaded; serves: metrics tell of its loads."""
        self._store = store
        self._poll_seconds = poll_seconds
        self._public_keys = public_keys
        self._serves = serves
        self._seen: object = None
        self._retry_at = math.inf
        self._first_look = threading.Event()
        self._stop = threading.Event()
        self.served: ServedModel | None = None
        self.refusal: str | None = None
        self.last_training: TrainingRecord | None = None

    def require(self) -> ServedModel:
        """The model, for the request under way.

        Raises:
            Problem: 503 with the reason why there is none.
        """
        served = self.served
        if served is None:
            detail = f"No model is loaded: {self.refusal or 'the first one is being read.'}"
            raise Problem(503, detail, headers={"Retry-After": str(max(1, round(self._poll_seconds)))})
        g.model_version = served.version
        return served

    def refresh(self) -> None:
        """Load the current version unless it was tried already; never raises for a bad store or artifact.

        The state is taken before the files are read: what changes in between is seen at the next look.
        """
        # Here rather than at a scrape, which must not wait for a volume that hangs.
        self.last_training = read_record(self._store.root)
        try:
            version = self._store.current()
            folder = self._store.folder(version)
            state: object = (version, _fingerprint(folder))
        except ArtifactError as error:
            version, state = None, str(error)
        if state == self._seen and time.monotonic() < self._retry_at:
            return
        news = state != self._seen
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
            self._refuse(error, news)
            return
        previous = self.served
        self.served = served
        self.refusal = None
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
        """Refresh in a thread of this process until `stop`; returns after the first time, or FIRST_LOOK_SECONDS."""
        threading.Thread(target=self._poll, name="model-watch", daemon=True).start()
        self._first_look.wait(FIRST_LOOK_SECONDS)

    def stop(self) -> None:
        """End the thread of `watch`."""
        self._stop.set()

    def _poll(self) -> None:
        while not self._stop.is_set():
            try:
                self.refresh()
            # The thread must outlive whatever happens, or no later version would ever be served.
            except Exception:
                _log.exception("the look at the model store failed")
            self._first_look.set()
            self._stop.wait(min(self._poll_seconds, threading.TIMEOUT_MAX))

    def _refuse(self, error: Exception, news: bool) -> None:
        """Say once why a version is not served; without news it is a further try of the same files."""
        foreseen = isinstance(error, ArtifactError)
        reason = str(error) if foreseen else f"the model cannot be opened ({type(error).__name__}); the log says more."
        if self._serves:
            metrics.model_refused()
        if news or reason != self.refusal:
            served = self.served
            _log.error(
                "model refused",
                extra={"reason": reason, "still_serving": served.version if served else None},
                exc_info=None if foreseen else error,
            )
        self.refusal = reason


def _fingerprint(folder: Path) -> tuple[object, ...]:
    """Changes when a file is replaced, written or given other rights, so that a mended artifact is tried again.

    The inode's number is not part of it: some network volumes give another one at each look.
    """
    marks: list[object] = []
    for name in (CARD_FILE, SIGNATURE_FILE, MODEL_FILE):
        try:
            status = (folder / name).stat()
        except OSError as error:
            marks.append(error.errno)
        else:
            marks.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(marks)
