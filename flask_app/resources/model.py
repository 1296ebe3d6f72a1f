"""`GET /model`: the card of the served model."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from flask_app.model.served_model import ModelHolder


def blueprint(holder: ModelHolder) -> Blueprint:
    """Return the endpoint."""
    model = Blueprint("model", __name__)

    @model.get("/model")
    def card() -> ResponseReturnValue:
        """Return the bytes of the card's file, which the signature covers."""
        return Response(holder.require().artifact.card_bytes, content_type="application/json")

    return model
