"""Logs as one JSON object a line: one for each request, with the id that its answer carries."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, request

HEADER = "X-Request-ID"
MAX_PATH = 200

_PROBES = {"/health", "/ready"}
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")
# What a log record has anyway; everything else came by `extra` and is part of the line.
_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}

_log = logging.getLogger("training_service.request")


class JsonFormatter(logging.Formatter):
    """A line that stays one valid JSON object of ASCII, whatever the message holds."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **{name: value for name, value in record.__dict__.items() if name not in _STANDARD},
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, separators=(",", ":"))


def logging_config(level: str) -> dict[str, Any]:
    """A configuration for `logging.config.dictConfig`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": JsonFormatter}},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"}},
        "root": {"level": level.upper(), "handlers": ["stdout"]},
    }


def current_request_id() -> str:
    """The caller's X-Request-ID if it is a plain token, else one made for this request."""
    if "request_id" not in g:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _ACCEPTED.fullmatch(given) else uuid.uuid4().hex
    return str(g.request_id)


def init_app(app: Flask) -> None:
    """Register the hooks around each request."""
    app.before_request(_start)
    app.after_request(_finish)


def _start() -> None:
    g.started = time.perf_counter()
    current_request_id()


def _finish(response: Response) -> Response:
    response.headers[HEADER] = current_request_id()
    response.headers["Cache-Control"] = "no-store"
    level = logging.DEBUG if request.path in _PROBES and response.status_code == 200 else logging.INFO
    _log.log(
        level,
        "request",
        extra={
            "method": request.method,
            "path": request.path[:MAX_PATH],
            "route": request.url_rule.rule if request.url_rule else None,
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - g.started) * 1000, 3),
            "request_bytes": request.content_length,
            "request_id": current_request_id(),
            "client": request.remote_addr,
        },
    )
    return response
