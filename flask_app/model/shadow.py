"""Compare a challenger with the champion: it gets copies of the champion's requests, and its answers are discarded.

Nginx sends the copies (SHADOW_UPSTREAM in nginx/render.sh). The challenger loads the champion's model as well, predicts
the same rows with both, and counts how often they agree.
"""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flask_app import metrics
from flask_app.model.served_model import ModelHolder, ServedModel
from flask_app.settings import ApiSettings
from model_artifact.store import ArtifactStore

_log = logging.getLogger(__name__)

_champion: ModelHolder | None = None
# The last pair of versions with different features that was logged.
_logged: tuple[str, str] | None = None


def init(settings: ApiSettings) -> None:
    """Load and watch the champion's model, if SHADOW_OF names its store."""
    global _champion
    if _champion is not None:
        _champion.stop()
    _champion = None
    if settings.shadow_of:
        store = ArtifactStore(settings.shadow_of)
        _champion = ModelHolder(store, settings.model_poll_seconds, settings.public_keys(), serves=False)
        _champion.watch()


def compare(challenger: ServedModel, rows: NDArray[np.float32], probabilities: NDArray[np.float32]) -> None:
    """Count the rows on which challenger and champion agree and differ; do nothing without a champion.

    rows has shape (n, features); probabilities are the challenger's, shape (n, classes).
    """
    champion = _comparable(challenger)
    if champion is None:
        return
    mine, theirs = challenger.artifact.card, champion.artifact.card
    own = np.array(mine.classes)[probabilities.argmax(axis=1)]
    # Not predict_matrix, which counts the rows as predicted.
    other = np.array(theirs.classes)[champion.artifact.model.predict_proba(rows).argmax(axis=1)]
    metrics.count_shadow_rows(int((own == other).sum()), len(rows))


def compare_row(challenger: ServedModel, values: Sequence[float], prediction: int) -> None:
    """Count one row, as `compare` does; prediction is the index of the challenger's class."""
    champion = _comparable(challenger)
    if champion is None:
        return
    probabilities = champion.artifact.model.predict_one(values)
    other = champion.artifact.card.classes[probabilities.index(max(probabilities))]
    metrics.count_shadow_rows(int(challenger.artifact.card.classes[prediction] == other), 1)


def _comparable(challenger: ServedModel) -> ServedModel | None:
    """Return the champion's model, if it has the same features."""
    champion = _champion.served if _champion is not None else None
    if champion is None:
        return None
    mine, theirs = challenger.artifact.card.features, champion.artifact.card.features
    if [feature.name for feature in mine] != [feature.name for feature in theirs]:
        global _logged
        if _logged != (versions := (challenger.version, champion.version)):
            _logged = versions
            _log.error(
                "shadow comparison is not possible: the champion has different features",
                extra={"model_version": challenger.version, "champion_version": champion.version},
            )
        return None
    return champion
