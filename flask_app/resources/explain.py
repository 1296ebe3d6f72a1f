"""`POST /explain`: predict one row with contributions; `/predict?explain=true` does the same."""

import json

from flask import Blueprint, Request, Response, request
from flask.typing import ResponseReturnValue

from flask_app.model.explanation import explain_row
from flask_app.model.served_model import ModelHolder
from flask_app.rows.json_body import read_json
from http_service.problems import InvalidFields
from http_service.request_id import current_request_id


def blueprint(holder: ModelHolder) -> Blueprint:
    """Return the endpoint."""
    explain = Blueprint("explain", __name__)

    @explain.post("/explain")
    def explain_json() -> ResponseReturnValue:
        """Explain one row, in either form of `/predict`."""
        served = holder.require()
        answer = explain_row(served, read_json(request))
        answer["request_id"] = current_request_id()
        return Response(json.dumps(answer, allow_nan=False, separators=(",", ":")), content_type="application/json")

    return explain


def wants_explanation(request: Request) -> bool:
    """Return the query's `explain`, false by default.

    Raises:
        InvalidFields: it is neither true nor false, or appears more than once.
    """
    given = request.args.getlist("explain")
    if given not in ([], ["true"], ["false"]):
        raise InvalidFields([{"field": "explain", "message": "must be true or false, once"}])
    return given == ["true"]


def reject_explanation(request: Request) -> None:
    """Reject `explain` for many rows: it takes ten times as long as the prediction.

    Raises:
        InvalidFields: `explain` is true or invalid.
    """
    if wants_explanation(request):
        raise InvalidFields([{"field": "explain", "message": "goes with one row only; send many rows without it"}])
