"""`GET /options`: the choices for a training."""

import msgspec
from flask import Blueprint
from flask.typing import ResponseReturnValue

from model_training.configuration import Configuration
from model_training.data.datasets import DATASETS
from model_training.estimators.parameters import PARAMETERS
from training_service.settings import TrainingServiceSettings


def blueprint(settings: TrainingServiceSettings) -> Blueprint:
    """Return the endpoint."""
    options = Blueprint("options", __name__)

    @options.get("/options")
    def everything() -> ResponseReturnValue:
        """List built-in tables, estimators with their parameters, defaults, and the service's limits."""
        return {
            "tables": sorted(DATASETS),
            "estimators": msgspec.to_builtins(PARAMETERS),
            "defaults": msgspec.to_builtins(Configuration()),
            "limits": {
                "table_bytes": settings.max_table_bytes,
                "queue": settings.queue_length,
                "job_seconds": settings.job_seconds,
            },
        }

    return options
