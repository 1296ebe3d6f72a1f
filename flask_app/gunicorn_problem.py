"""Gunicorn's own refusals, of what is no valid HTTP, in the form of every other error."""

import json
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn import util

from flask_app.problems import problem_body
from flask_app.request_id import HEADER

_DETAILS = {
    400: "The request is not valid HTTP.",
    403: "This is not allowed.",
    414: "The address is too long.",
    417: "This service meets no expectation but 100-continue.",
    431: "The request headers are too many or too large.",
    501: "The service does not know this transfer coding.",
}


def write_problem(sock: Any, status: int, reason: str, _message: str) -> None:
    """In place of `gunicorn.util.write_error`, which writes HTML with what the client sent."""
    request_id = uuid.uuid4().hex
    detail = _DETAILS.get(status) or f"{HTTPStatus(status).phrase}."
    body = json.dumps(problem_body(status, detail, [], request_id), separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n{HEADER}: {request_id}\r\nCache-Control: no-store\r\n\r\n"
    )
    util.write_nonblock(sock, head.encode("latin-1") + body)
