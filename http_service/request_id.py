"""The id that connects an answer with its log lines here and in Nginx."""

import re
import uuid

from flask import g, request

HEADER = "X-Request-ID"

# Nginx accepts the same ones. Anything else could break a log line or a header.
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")


def current_request_id() -> str:
    """Return the caller's X-Request-ID if it is a plain token, else an id made for this request."""
    if "request_id" not in g:
        g.request_id = accepted_or_new(request.headers.get(HEADER, ""))
    return str(g.request_id)


def accepted_or_new(given: str) -> str:
    """Return the given id if it is a plain token, else a new one."""
    return given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex
