"""Every error as `application/problem+json` (RFC 9457), as the prediction API answers them."""

from __future__ import annotations

import json
import logging
import sqlite3
from http import HTTPStatus

from flask import Flask, Response
from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import HTTPException, InternalServerError

from model_training.registry.registry import RegistryError
from training_service.request_log import current_request_id
from training_service.settings import SettingsError

_TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}
_DETAILS = {
    400: "The body broke off before its end, or is not valid HTTP.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The body is larger than this service takes; send fewer bytes.",
    500: "The service failed to answer; its log has the reason under this request id.",
}

_log = logging.getLogger(__name__)


class Problem(Exception):
    """An answer that is an error; `detail` is one sentence for the caller."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None, field: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.errors = [{"field": field, "message": detail}] if field else []


def problem_response(problem: Problem) -> Response:
    """The answer to a problem."""
    body = {
        "type": "about:blank",
        "title": _TITLES.get(problem.status) or HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "error": problem.detail,
        "request_id": current_request_id(),
        "errors": problem.errors,
    }
    response = Response(json.dumps(body), problem.status, content_type="application/problem+json")
    response.headers.extend(problem.headers)
    return response


def init_app(app: Flask) -> None:
    """Answer problems, Werkzeug's own refusals and unforeseen failures in the one form."""
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(HTTPException, _http_exception)
    for error in (ParseException, NoMoreData, ConnectionError):
        app.register_error_handler(error, lambda _: problem_response(Problem(400, _DETAILS[400])))
    app.register_error_handler(RegistryError, _registry_away)
    app.register_error_handler(SettingsError, _setting_broken)
    app.register_error_handler(sqlite3.Error, _no_database)
    app.register_error_handler(InternalServerError, _unforeseen)
    # Flask would log the same trace a second time, without the request id.
    app.logger.disabled = True


def _http_exception(error: HTTPException) -> Response:
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name.lower() in ("allow", "retry-after")}
    return problem_response(Problem(status, _DETAILS.get(status) or f"{HTTPStatus(status).phrase}.", headers))


def _registry_away(error: RegistryError) -> Response:
    return problem_response(Problem(503, sentence(str(error)), {"Retry-After": "5"}))


def _setting_broken(error: SettingsError) -> Response:
    return problem_response(Problem(503, str(error)))


def _no_database(error: sqlite3.Error) -> Response:
    _log.error("the database failed", extra={"reason": str(error), "request_id": current_request_id()})
    return problem_response(Problem(503, f"TRAINING_DIR cannot be used now: {error}.", {"Retry-After": "5"}))


def _unforeseen(error: InternalServerError) -> Response:
    _log.error(
        "unforeseen failure", exc_info=error.original_exception or error, extra={"request_id": current_request_id()}
    )
    return problem_response(Problem(500, _DETAILS[500]))


def sentence(text: str) -> str:
    """The text with a full stop at its end. (Many begin with a name, which has no capital.)"""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
