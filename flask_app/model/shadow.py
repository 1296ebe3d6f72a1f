"""A challenger's comparison to the champion: it gets copies of the champion's requests, and nobody gets its answers.

Nginx sends the copies (SHADOW_UPSTREAM in nginx/render.sh). The challenger asks the champion's model for the same rows,
so that neither waits for the other's answer, and counts how often both say the same class.
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
# The pair of versions that was last found to have nothing in common.
_told: tuple[str, str] | None = None


def init(settings: ApiSettings) -> None:
    """Load the champion's model and follow its store, if SHADOW_OF names one."""
    global _champion
    if _champion is not None:
        _champion.stop()
    _champion = None
    if settings.shadow_of:
        store = ArtifactStore(settings.shadow_of)
        _champion = ModelHolder(store, settings.model_poll_seconds, settings.public_keys(), serves=False)
        _champion.watch()


def compare(challenger: ServedModel, rows: NDArray[np.float32], probabilities: NDArray[np.float32]) -> None:
    """Count the rows on which challenger and champion agree and those on which they differ; nothing without a champion.

    rows has shape (n, features); probabilities, the challenger's answer to them, (n, classes).
    """
    champion = _comparable(challenger)
    if champion is None:
        return
    mine, theirs = challenger.artifact.card, champion.artifact.card
    own = np.array(mine.classes)[probabilities.argmax(axis=1)]
    # Not through predict_matrix, which counts rows that somebody is answered.
    other = np.array(theirs.classes)[champion.artifact.model.predict_proba(rows).argmax(axis=1)]
    metrics.count_shadow_rows(int((own == other).sum()), len(rows))


def compare_row(challenger: ServedModel, values: Sequence[float], prediction: int) -> None:
    """As `compare`, of one row and the index of the class that the challenger gave it."""
    champion = _comparable(challenger)
    if champion is None:
        return
    probabilities = champion.artifact.model.predict_one(values)
    other = champion.artifact.card.classes[probabilities.index(max(probabilities))]
    metrics.count_shadow_rows(int(challenger.artifact.card.classes[prediction] == other), 1)


def _comparable(challenger: ServedModel) -> ServedModel | None:
    """The champion's model, if there is one that reads the same rows."""
    champion = _champion.served if _champion is not None else None
    if champion is None:
        return None
    mine, theirs = challenger.artifact.card.features, champion.artifact.card.features
    if [feature.name for feature in mine] != [feature.name for feature in theirs]:
        _tell(challenger.version, champion.version)
        return None
    return champion


def _tell(challenger: str, champion: str) -> None:
    global _told
    if _told != (challenger, champion):
        _told = challenger, champion
        _log.error(
            "shadow comparison is not possible: the champion has other features",
            extra={"model_version": challenger, "champion_version": champion},
        )
