"""`GET /metrics` for Prometheus."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from flask_app.metrics import exposition
from flask_app.model.served_model import ModelHolder


def blueprint(holder: ModelHolder) -> Blueprint:
    """Return the endpoint."""
    metrics = Blueprint("metrics", __name__)

    @metrics.get("/metrics")
    def scrape() -> ResponseReturnValue:
        """Return the metrics of all workers; no key is needed, since Nginx does not forward this path."""
        return Response(exposition(holder.last_training), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return metrics
