"""`POST /explain`: the class of one row, and why; `?explain=true` asks `/predict` for the same."""

import json

from flask import Blueprint, Request, Response, request
from flask.typing import ResponseReturnValue

from flask_app.model.explanation import explain_row
from flask_app.model.served_model import ModelHolder
from flask_app.rows.json_body import read_json
from http_service.problems import InvalidFields
from http_service.request_id import current_request_id


def blueprint(holder: ModelHolder) -> Blueprint:
    """Explanation."""
    explain = Blueprint("explain", __name__)

    @explain.post("/explain")
    def explain_json() -> ResponseReturnValue:
        """One row, in either form of `/predict`."""
        served = holder.require()
        answer = explain_row(served, read_json(request))
        answer["request_id"] = current_request_id()
        return Response(json.dumps(answer, allow_nan=False, separators=(",", ":")), content_type="application/json")

    return explain


def asks_for_reasons(request: Request) -> bool:
    """The query's `explain`.

    Raises:
        InvalidFields: it is neither true nor false, or stands there twice.
    """
    given = request.args.getlist("explain")
    if given not in ([], ["true"], ["false"]):
        raise InvalidFields([{"field": "explain", "message": "must be true or false, once"}])
    return given == ["true"]


def refuse_reasons(request: Request) -> None:
    """Reasons are for one row: they cost ten times its prediction, and nobody reads them for many.

    Raises:
        InvalidFields: the query asks for them, or `explain` is not what it may be.
    """
    if asks_for_reasons(request):
        raise InvalidFields([{"field": "explain", "message": "goes with one row only; send many rows without it"}])
