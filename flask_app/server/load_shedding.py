"""Requests beyond what the worker can answer."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from flask_app import metrics
from flask_app.model.track import HEADER as TRACK_HEADER
from http_service import request_log
from http_service.gunicorn.problem import raw_problem

if TYPE_CHECKING:
    from http_service.gunicorn.worker import LingeringWorker

_DETAIL = "The service has more requests than it can answer; try again after the seconds in Retry-After."
RETRY_SECONDS = 1


class LoadShedding:
    """Answers 503 to requests beyond the limit of connections, and to those that found no compute slot in time."""

    def __init__(self, worker: LingeringWorker, track: str) -> None:
        self._worker = worker
        self._max_served = worker.worker_connections * 2 // 3
        self._headers = f"Retry-After: {RETRY_SECONDS}\r\n{TRACK_HEADER}: {track}\r\n"

    def is_overloaded(self) -> bool:
        """Return whether there are more connections than are served; the others get a 503."""
        return bool(self._worker.nr_conns > self._max_served)

    def answer(self, client: str, method: str | None = None, path: str | None = None) -> bytes:
        """Return the 503 for a request, which is logged and counted like any other."""
        request_id = uuid.uuid4().hex
        line = {
            "method": method,
            "path": path and path[: request_log.MAX_PATH_CHARACTERS],
            "route": None,
            "status": 503,
        }
        request_log.write({**line, "request_id": request_id, "client": client})
        metrics.observe(None, method or "", 503, 0.0)
        return raw_problem(503, "Service Unavailable", _DETAIL, request_id, self._headers)
