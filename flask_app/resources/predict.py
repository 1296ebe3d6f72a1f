"""`POST /predict`: the class of one row."""

import json

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from flask_app.json_body import read_json
from flask_app.prediction import predict_row
from flask_app.request_id import current_request_id
from flask_app.served_model import ModelHolder


def blueprint(holder: ModelHolder) -> Blueprint:
    """Prediction."""
    predict = Blueprint("predict", __name__)

    @predict.post("/predict")
    def predict_json() -> ResponseReturnValue:
        """One row as an object of features or as {"features": [...]}."""
        served = holder.require()
        answer = predict_row(served, read_json(request))
        answer["request_id"] = current_request_id()
        return Response(json.dumps(answer, allow_nan=False, separators=(",", ":")), content_type="application/json")

    return predict
