"""`/models` and `/rollback`: the trained versions and the champion."""

from __future__ import annotations

import logging
import threading
from typing import Any

import msgspec
from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from http_service.problems import Problem, sentence
from model_artifact.card import ModelCard
from model_training.registry.registry import Registry, RegistryError, VersionRefused
from training_service.uploads import read_fields

_switching = threading.Lock()
_log = logging.getLogger(__name__)


def blueprint(registry: Registry) -> Blueprint:
    """Return the endpoints."""
    models = Blueprint("models", __name__)

    @models.get("/models")
    def all_models() -> ResponseReturnValue:
        """List the champion, every version with its metrics, newest first, and the outcome of the last training."""
        return {
            "champion": registry.champion_version(),
            "models": [_summary(card) for card in registry.cards()],
            "last_training": msgspec.to_builtins(registry.last_training()),
        }

    @models.post("/models/<version>/activate")
    def activate(version: str) -> ResponseReturnValue:
        """Make a version champion; a version that the gate rejected needs force."""
        force = read_fields(request).get("force", False)
        if not isinstance(force, bool):
            raise Problem(422, "force must be true or false.", field="force")
        with _switching:
            card = next((card for card in registry.cards() if card.model_version == version), None)
            if card is None:
                raise Problem(404, "There is no such version; GET /models lists all.")
            if card.gate and not card.gate.passed and not force:
                reasons = " ".join(map(sentence, card.gate.reasons))
                raise Problem(409, f"The gate rejected this version; only force activates it. {reasons}".strip())
            try:
                registry.promote(version)
            except VersionRefused as error:
                raise Problem(409, sentence(str(error))) from None
            if card.gate and not card.gate.passed:
                _log.warning(
                    "rejected version activated by force",
                    extra={"model_version": version, "reasons": card.gate.reasons},
                )
        return {"champion": version}

    @models.post("/rollback")
    def roll_back() -> ResponseReturnValue:
        """Make the previous champion champion again."""
        with _switching:
            try:
                return {"champion": registry.roll_back()}
            except RegistryError as error:
                # Raises 503 if the registry does not answer; else there is no previous champion, or it is invalid.
                registry.champion_version()
                raise Problem(409, sentence(str(error))) from None

    return models


def _summary(card: ModelCard) -> dict[str, Any]:
    return {
        "version": card.model_version,
        "model_name": card.model_name,
        "trained_at": card.trained_at,
        "estimator": card.estimator,
        "accuracy": card.metrics.accuracy,
        "log_loss": card.metrics.log_loss,
        "gate": msgspec.to_builtins(card.gate),
        "data": msgspec.to_builtins(card.data),
    }
