"""`GET /ready`."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from flask_app.model.served_model import ModelHolder


def blueprint(holder: ModelHolder) -> Blueprint:
    """Return the probe."""
    readiness = Blueprint("readiness", __name__)

    @readiness.get("/ready")
    def ready() -> ResponseReturnValue:
        """Answer 200 if a model is loaded and reproduced its golden rows, else 503 with the reason."""
        served = holder.require()
        return {
            "status": "ready",
            "model_name": served.artifact.card.model_name,
            "model_version": served.version,
            "signature": served.signature,
        }

    return readiness
