"""One log line a request, and the request id on every answer."""

import logging
import os
import time
from collections.abc import Mapping

from flask import Flask, Response, g, request

from http_service.request_id import HEADER, current_request_id

_log = logging.getLogger("http_service.request")

# Probes ask every few seconds; a line for each would hide the other requests.
_PROBES = {"/health", "/ready", "/v2/health/live", "/v2/health/ready"}

MAX_PATH_CHARACTERS = 200

# Gunicorn closes a connection with a longer unread body, so the answer must not promise to keep it.
_MAX_UNREAD_BYTES = 64 * 1024


def init_app(app: Flask) -> None:
    """Register the hooks around each request."""
    app.before_request(_start)
    app.after_request(_finish)


def _start() -> None:
    g.started = time.perf_counter()
    current_request_id()


def _finish(response: Response) -> Response:
    response.headers[HEADER] = current_request_id()
    response.headers.setdefault("Cache-Control", "no-store")
    if (request.content_length or 0) > _MAX_UNREAD_BYTES and response.status_code >= 400:
        response.headers["Connection"] = "close"
    level = logging.DEBUG if request.path in _PROBES and response.status_code == 200 else logging.INFO
    if _log.isEnabledFor(level):
        _log.handle(_Record(level, _fields(response)))
    return response


def write(fields: Mapping[str, object]) -> None:
    """Log a request that was answered without Flask."""
    if _log.isEnabledFor(logging.INFO):
        _log.handle(_Record(logging.INFO, fields))


class _Record(logging.LogRecord):
    """A record without caller and thread: looking them up costs more than a prediction."""

    def __init__(self, level: int, fields: Mapping[str, object]) -> None:
        self.__dict__ |= {**_STANDARD, **fields}
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.created = time.time()
        self.process = os.getpid()


_STANDARD = logging.makeLogRecord({"name": _log.name, "msg": "request"}).__dict__


def _fields(response: Response) -> dict[str, object]:
    fields = {
        "method": request.method,
        "path": request.path[:MAX_PATH_CHARACTERS],
        "route": request.url_rule.rule if request.url_rule else None,
        "status": response.status_code,
        "duration_ms": round((time.perf_counter() - g.started) * 1000, 3),
        "request_bytes": request.content_length,
        "response_bytes": response.content_length,
        "request_id": current_request_id(),
        "client": request.remote_addr,
    }
    if "api_key_id" in g:
        fields["api_key"] = g.api_key_id
    if "model_version" in g:
        fields["model_version"] = g.model_version
    return fields
