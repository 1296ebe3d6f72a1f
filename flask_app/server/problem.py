"""Gunicorn's own refusals, of what is no valid HTTP, in the form of every other error."""

import json
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn import util

from flask_app.model.track import HEADER as TRACK_HEADER
from http_service.problems import problem_body
from http_service.request_id import HEADER

_DETAILS = {
    400: "The request is not valid HTTP.",
    403: "This is not allowed.",
    414: "The address is too long.",
    417: "This service meets no expectation but 100-continue.",
    431: "The request headers are too many or too large.",
    501: "The service does not know this transfer coding.",
}

_BUSY = "The service has more requests than it can answer; try again after the seconds that Retry-After says."
RETRY_SECONDS = 1


def write_problem(sock: Any, status: int, reason: str, _message: str) -> None:
    """In place of `gunicorn.util.write_error`, which writes HTML with what the client sent."""
    detail = _DETAILS.get(status) or f"{HTTPStatus(status).phrase}."
    util.write_nonblock(sock, _answer(status, reason, detail, uuid.uuid4().hex))


def busy_answer(request_id: str, track: str) -> bytes:
    """503 of a track for a request that there is no room for."""
    headers = f"Retry-After: {RETRY_SECONDS}\r\n{TRACK_HEADER}: {track}\r\n"
    return _answer(503, "Service Unavailable", _BUSY, request_id, headers)


def _answer(status: int, reason: str, detail: str, request_id: str, headers: str = "") -> bytes:
    body = json.dumps(problem_body(status, detail, [], request_id), separators=(",", ":")).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n{headers}{HEADER}: {request_id}\r\nCache-Control: no-store\r\n\r\n"
    )
    return head.encode("latin-1") + body
