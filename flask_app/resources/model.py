"""`GET /model`: the card of the model that serves."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from flask_app.served_model import ModelHolder
from model_training.schema import encode_card


def blueprint(holder: ModelHolder) -> Blueprint:
    """The model card."""
    model = Blueprint("model", __name__)

    @model.get("/model")
    def card() -> ResponseReturnValue:
        """The card as it lies beside the pickle."""
        return Response(encode_card(holder.require().artifact.card), content_type="application/json")

    return model
