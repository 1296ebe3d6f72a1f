"""Answers to requests that never reach Flask, in the form of every other error."""

import json
import uuid
from http import HTTPStatus
from typing import Any

from gunicorn import util

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


def write_problem(sock: Any, status: int, reason: str, _message: str) -> None:
    """Answer a request that is not valid HTTP; the message contains what the client sent and stays out."""
    detail = _DETAILS.get(status) or f"{HTTPStatus(status).phrase}."
    util.write_nonblock(sock, raw_problem(status, reason, detail, uuid.uuid4().hex))


def raw_problem(status: int, reason: str, detail: str, request_id: str, headers: str = "") -> bytes:
    """Return a problem as a whole HTTP response, which ends its connection; headers are further lines of its header."""
    body = json.dumps(problem_body(status, detail, [], request_id), separators=(",", ":")).encode()
    header = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\n{headers}{HEADER}: {request_id}\r\nCache-Control: no-store\r\n\r\n"
    )
    return header.encode("latin-1") + body
