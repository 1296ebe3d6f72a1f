"""The model that answers now, exchanged whole when the store points to another version."""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from flask import g

from flask_app.problems import Problem
from flask_app.row_schema import RowSchema
from model_training.artifact import CARD_FILE, MODEL_FILE, Artifact, ArtifactError, load_artifact
from model_training.store import ArtifactStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedModel:
    """An artifact that passed every check, with what the API derives from its card."""

    artifact: Artifact
    row_schema: RowSchema

    @property
    def version(self) -> str:
        """The version's name, as answers and logs give it."""
        return self.artifact.card.model_version


class ModelHolder:
    """Keeps the store's current version loaded; what it cannot load never replaces what serves.

    One thread calls `refresh`; any number may read `served`, which is one reference, set in one step: a request that
    took it keeps one model to its end.
    """

    def __init__(self, store: ArtifactStore, poll_seconds: float) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._seen: object = None
        self._stop = threading.Event()
        self.served: ServedModel | None = None
        self.refusal: str | None = None

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
        """Load the current version unless it was tried already; never raises for a bad store or artifact."""
        try:
            version = self._store.current()
            folder = self._store.folder(version)
            state: object = (version, _fingerprint(folder))
        except ArtifactError as error:
            version, state = None, str(error)
        if state == self._seen:
            return
        self._seen = state
        try:
            if version is None:
                raise ArtifactError(str(state))
            artifact = load_artifact(folder, version)
        except ArtifactError as error:
            self._refuse(str(error))
            return
        self.served = ServedModel(artifact=artifact, row_schema=RowSchema(artifact.card.features))
        self.refusal = None
        _log.info("model loaded", extra={"model_version": version, "model_name": artifact.card.model_name})

    def watch(self) -> None:
        """Refresh now, and from then on in a thread of this process until `stop`."""
        self.refresh()
        threading.Thread(target=self._poll, name="model-watch", daemon=True).start()

    def stop(self) -> None:
        """End the thread of `watch`."""
        self._stop.set()

    def _poll(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self.refresh()
            # The thread must outlive whatever happens, or no later version would ever be served.
            except Exception:
                _log.exception("the look at the model store failed")

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        served = self.served
        _log.error("model refused", extra={"reason": reason, "still_serving": served.version if served else None})


def _fingerprint(folder: Path) -> tuple[object, ...]:
    """Changes when a file is replaced, written or given other rights, so that a mended artifact is tried again."""
    marks: list[object] = []
    for name in (CARD_FILE, MODEL_FILE):
        try:
            status = (folder / name).stat()
        except OSError as error:
            marks.append(error.errno)
        else:
            marks.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(marks)
