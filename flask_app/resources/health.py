"""`GET /health`: the process answers. `GET /ready`: it can predict."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from flask_app.model.served_model import ModelHolder


def blueprint(holder: ModelHolder) -> Blueprint:
    """The two probes."""
    probes = Blueprint("health", __name__)

    @probes.get("/health")
    def health() -> ResponseReturnValue:
        """200 as long as the process answers; touches nothing, so that a bad model never restarts the process."""
        return {"status": "ok"}

    @probes.get("/ready")
    def ready() -> ResponseReturnValue:
        """200 when a model is loaded and gave its golden rows' probabilities, else 503 with the reason."""
        served = holder.require()
        return {
            "status": "ready",
            "model_name": served.artifact.card.model_name,
            "model_version": served.version,
            "signature": served.signature,
        }

    return probes
