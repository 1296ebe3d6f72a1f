"""`GET /model`: the card of the model that serves."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from flask_app.model.served_model import ModelHolder


def blueprint(holder: ModelHolder) -> Blueprint:
    """The model card."""
    model = Blueprint("model", __name__)

    @model.get("/model")
    def card() -> ResponseReturnValue:
        """The card's bytes as they lie beside the pickle, which are those that were signed."""
        return Response(holder.require().artifact.card_bytes, content_type="application/json")

    return model
