"""Every error as `application/problem+json` (RFC 9457), with one sentence that says what to do."""

import json
import logging
from http import HTTPStatus
from typing import TypedDict

from flask import Flask, Response
from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import HTTPException, InternalServerError

from flask_app.request_id import current_request_id

# The names of RFC 9110; older Pythons have others.
_TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}

_DETAILS = {
    400: "The body broke off before its end, or its chunks are not those of HTTP.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The body is larger than this service takes; send fewer bytes.",
    500: "The service failed to answer; try again, and give the request id to its operator if it fails again.",
}

# A body may hold a hundred thousand bad fields; the answer stays readable.
MAX_ERRORS = 20


class FieldError(TypedDict):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Exception):
    """An answer that is an error; `detail` is one sentence for the caller."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: list[FieldError] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.headers = headers or {}


class InvalidFields(Problem):
    """422 with the fields' names."""

    def __init__(self, errors: list[FieldError]) -> None:
        shown = errors[:MAX_ERRORS]
        sentence = "; ".join(f"{_one_line(error['field'])} {error['message']}" for error in shown)
        more = f"; and {len(errors) - len(shown)} more" if len(errors) > len(shown) else ""
        super().__init__(422, f"{sentence}{more}.", errors=shown)


def _one_line(name: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in name)


def problem_response(problem: Problem) -> Response:
    """The answer to a problem."""
    body = problem_body(problem.status, problem.detail, problem.errors, current_request_id())
    response = Response(
        json.dumps(body, separators=(",", ":")), problem.status, content_type="application/problem+json"
    )
    response.headers.extend(problem.headers)
    return response


def problem_body(status: int, detail: str, errors: list[FieldError], request_id: str) -> dict[str, object]:
    """The members of a problem."""
    return {
        "type": "about:blank",
        "title": _TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        # Clients of the original read this one.
        "error": detail,
        "request_id": request_id,
        "errors": errors,
    }


def init_app(app: Flask) -> None:
    """Answer problems, Werkzeug's own refusals and unforeseen failures in the one form."""
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(HTTPException, _http_exception)
    for error in (ParseException, NoMoreData, ConnectionError):
        app.register_error_handler(error, _broken_body)
    app.register_error_handler(InternalServerError, _unforeseen)
    # Flask would log the same trace a second time, without the request id.
    app.logger.disabled = True


def _http_exception(error: HTTPException) -> Response:
    status = error.code or 500
    detail = _DETAILS.get(status) or f"{HTTPStatus(status).phrase}."
    # Allow of a 405, Retry-After and the like; the type and length of an HTML page are not ours.
    headers = {
        name: ", ".join(sorted(value.split(", "))) if name == "Allow" else value
        for name, value in error.get_headers()
        if name.lower() not in ("content-type", "content-length")
    }
    return problem_response(Problem(status, detail, headers=headers))


def _broken_body(_error: Exception) -> Response:
    """What Gunicorn raises while a body is read: its chunks are none, or the client went away or stalled."""
    return problem_response(Problem(400, _DETAILS[400]))


def _unforeseen(error: InternalServerError) -> Response:
    logging.getLogger(__name__).error(
        "unforeseen failure", exc_info=error.original_exception or error, extra={"request_id": current_request_id()}
    )
    return problem_response(Problem(500, _DETAILS[500]))
