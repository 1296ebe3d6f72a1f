"""Requests that there is no room for."""

import uuid

from flask_app import metrics
from flask_app.server.problem import busy_answer
from http_service import request_log


def turn_away(track: str, client: str, method: str | None, path: str | None) -> bytes:
    """The answer of a track to a request that there is no room for; it is logged and counted like any other."""
    request_id = uuid.uuid4().hex
    answer = busy_answer(request_id, track)
    line = {"method": method, "path": path and path[: request_log.MAX_PATH_CHARACTERS], "route": None, "status": 503}
    request_log.write({**line, "request_id": request_id, "client": client})
    metrics.observe(None, method or "", 503, 0.0)
    return answer
