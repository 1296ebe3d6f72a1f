"""The id that ties an answer, its log line and Nginx's log line together."""

import re
import uuid

from flask import g, request

HEADER = "X-Request-ID"

# Nginx takes the same ones. Anything else could break a log line or a header.
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")


def current_request_id() -> str:
    """The caller's X-Request-ID if it is a plain token, else one made for this request."""
    if "request_id" not in g:
        g.request_id = accepted_or_new(request.headers.get(HEADER, ""))
    return str(g.request_id)


def accepted_or_new(given: str) -> str:
    """What the caller sent, if it is a plain token, else a new id."""
    return given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex
