"""Every error as `application/problem+json` (RFC 9457), with one sentence for the caller."""

import json
import logging
from http import HTTPStatus
from typing import TypedDict

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, InternalServerError

from http_service.request_id import current_request_id

# The names of RFC 9110; Python 3.11 and 3.12 have older ones.
_TITLES = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}

DETAILS = {
    400: "The body ended early, or its chunks are not valid HTTP.",
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The body is larger than this service takes; send fewer bytes.",
    500: "The service failed to answer; try again, and give the request id to its operator if it fails again.",
}

# A body may hold a hundred thousand invalid fields.
MAX_ERRORS = 20


class FieldError(TypedDict):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Exception):
    """An error for the caller; `detail` is one sentence."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: list[FieldError] | None = None,
        headers: dict[str, str] | None = None,
        field: str = "",
    ) -> None:
        """field is the one that `detail` is about, in place of `errors`."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or ([{"field": field, "message": detail}] if field else [])
        self.headers = headers or {}


class InvalidFields(Problem):
    """A 422 that names each invalid field."""

    def __init__(self, errors: list[FieldError]) -> None:
        shown = errors[:MAX_ERRORS]
        text = "; ".join(f"{_one_line(error['field'])} {error['message']}" for error in shown)
        more = f"; and {len(errors) - len(shown)} more" if len(errors) > len(shown) else ""
        super().__init__(422, f"{text}{more}.", errors=shown)


def _one_line(name: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in name)


def problem_response(problem: Problem) -> Response:
    """Return the problem as a response."""
    body = problem_body(problem.status, problem.detail, problem.errors, current_request_id())
    response = Response(
        json.dumps(body, separators=(",", ":")), problem.status, content_type="application/problem+json"
    )
    response.headers.extend(problem.headers)
    return response


def problem_body(status: int, detail: str, errors: list[FieldError], request_id: str) -> dict[str, object]:
    """Return the members of a problem's document."""
    return {
        "type": "about:blank",
        "title": _TITLES.get(status) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        # Clients of the original API read this one.
        "error": detail,
        "request_id": request_id,
        "errors": errors,
    }


def init_app(app: Flask) -> None:
    """Answer problems, Werkzeug's HTTP errors and unexpected exceptions in one form."""
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(InternalServerError, _unexpected)
    # Flask would log the trace again, without the request id.
    app.logger.disabled = True


def _http_exception(error: HTTPException) -> Response:
    status = error.code or 500
    detail = DETAILS.get(status) or f"{HTTPStatus(status).phrase}."
    # Allow and Retry-After stay; type and length are those of an HTML page.
    headers = {
        name: ", ".join(sorted(value.split(", "))) if name == "Allow" else value
        for name, value in error.get_headers()
        if name.lower() not in ("content-type", "content-length")
    }
    return problem_response(Problem(status, detail, headers=headers))


def _unexpected(error: InternalServerError) -> Response:
    logging.getLogger(__name__).error(
        "unexpected failure", exc_info=error.original_exception or error, extra={"request_id": current_request_id()}
    )
    return problem_response(Problem(500, DETAILS[500]))


def sentence(text: str) -> str:
    """Return the text with a full stop at its end."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
