"""`GET /options`: what a training can be asked for."""

from typing import Any

import msgspec
from flask import Blueprint
from flask.typing import ResponseReturnValue

from model_training.configuration import Configuration
from model_training.data_loader import DATASETS
from model_training.service.settings import Settings


def blueprint(settings: Settings) -> Blueprint:
    """The options."""
    options = Blueprint("options", __name__)

    @options.get("/options")
    def everything() -> ResponseReturnValue:
        """Built-in tables, estimators with their parameters, the defaults, and the service's limits."""
        return {
            "tables": sorted(DATASETS),
            "estimators": estimators(),
            "defaults": msgspec.to_builtins(Configuration()),
            "limits": {
                "table_bytes": settings.max_table_bytes,
                "queue": settings.queue_length,
                "job_seconds": settings.job_seconds,
            },
        }

    return options


def estimators() -> dict[str, dict[str, dict[str, Any]]]:
    """Each estimator's parameters: kind, default, bounds and a sentence of help."""
    share = {"kind": "float", "default": 0.8, "minimum": 0.01, "maximum": 1.0}
    return {
        "xgboost": {
            "n_estimators": {
                "kind": "integer",
                "default": 100,
                "minimum": 1,
                "maximum": 10000,
                "help": "Rounds of boosting.",
            },
            "max_depth": {"kind": "integer", "default": 4, "minimum": 1, "maximum": 32, "help": "Depth of a tree."},
            "learning_rate": {**share, "default": 0.1, "help": "Shrinkage of each round."},
            "subsample": {**share, "help": "Share of rows for each tree."},
            "colsample_bytree": {**share, "help": "Share of columns for each tree."},
        }
    }
