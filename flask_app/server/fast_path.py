"""One row of JSON to `POST /predict`, answered from the request's bytes without Flask.

Flask and Gunicorn's parser cost ten times the prediction. This lane takes only what is plainly right: one whole request
with a clean row. All else, errors above all, is left to them, so there is one place that judges. What it does answer
comes from the same functions as in Flask's view and has the same bytes.
"""

import logging
import re
import time
from email.utils import formatdate
from typing import Literal

import gunicorn
from flask import Flask

from flask_app import metrics
from flask_app.answers import encode
from flask_app.api_keys import KeyRing
from flask_app.model import track
from flask_app.model.prediction import predict_values
from flask_app.model.served_model import ModelHolder
from flask_app.settings import ApiSettings
from http_service import request_log
from http_service.request_id import HEADER, accepted_or_new

MORE: Literal[b""] = b""

_START = b"POST /predict HTTP/1.1\r\n"
_END = b"\r\n\r\n"
# A head beyond it is Gunicorn's to measure; a row of a thousand features has about 32 KiB.
_MAX_HEAD = 8000
_MAX_BODY = 64 * 1024
LARGEST = _MAX_HEAD + _MAX_BODY

# A stricter form of RFC 9110's than Gunicorn takes: visible ASCII inside. What is matched is never given back (the ++
# and *+), or a head made for it would keep the worker busy for minutes.
_FIELD = rb"([!#$%&'*+\-.^`|~0-9A-Za-z]++):([\x20-\x7e\t]*+)\r\n"
_fields = re.compile(_FIELD).findall
_is_head = re.compile(rb"(?:[!#$%&'*+\-.^`|~0-9A-Za-z]++:[\x20-\x7e\t]*+\r\n){1,60}+").fullmatch

_is_host = re.compile(rb"[A-Za-z0-9.\-:\[\]_]{1,255}").fullmatch
_is_length = re.compile(rb"[1-9][0-9]{0,5}").fullmatch
_JSON = {b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"}
# What changes how a body is framed or encoded, what the connection becomes, or the scheme that is believed.
_LEFT = {b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"http2-settings", b"trailer", b"te"} | {
    b"x-forwarded-protocol",
    b"x-forwarded-ssl",
}

_log = logging.getLogger(__name__)


class FastLane:
    """Answers requests that it has the whole bytes of."""

    def __init__(self, holder: ModelHolder, settings: ApiSettings) -> None:
        self._holder = holder
        self._keys = KeyRing(settings)
        self._max_body = min(_MAX_BODY, settings.max_body_bytes)
        self._named = f"\r\n{track.HEADER}: {settings.model_track}\r\n{HEADER}: ".encode()
        self._second = 0
        self._head = b""

    def answer(self, request: bytes, client: str) -> bytes | None:
        """The answer with its head; `MORE` if the request's end has not come; None if the request is Flask's.

        client is the address to log. Every answer keeps the connection open.
        """
        if not request.startswith(_START):
            return None
        started = time.perf_counter()
        end = request.find(_END)
        if end < 0:
            return MORE if len(request) < _MAX_HEAD else None
        head = request[len(_START) : end + 2]
        if end > _MAX_HEAD or not _is_head(head):
            return None
        fields = {name.lower(): value.strip(b" \t") for name, value in _fields(head)}
        length = fields.get(b"content-length", b"")
        if (
            # A name that stands twice is Gunicorn's to judge.
            len(fields) != head.count(b"\r\n")
            or not _is_length(length)
            or int(length) > self._max_body
            or fields.get(b"content-type") not in _JSON
            or fields.get(b"connection", b"keep-alive").lower() != b"keep-alive"
            or not _is_host(fields.get(b"host", b""))
            or not _LEFT.isdisjoint(fields)
        ):
            return None
        missing = end + 4 + int(length) - len(request)
        if missing:
            # More than its body: a second request, which has to wait for the first one's answer.
            return MORE if missing > 0 else None
        return self._predict(fields, request[end + 4 :], client, started)

    def _predict(self, fields: dict[bytes, bytes], body: bytes, client: str, started: float) -> bytes | None:
        served = self._holder.served
        if served is None:
            return None
        key_id = None
        if self._keys.enabled:
            key_id = self._key_id(fields)
            if key_id is None:
                return None
        values = served.row_schema.decode(body)
        if values is None:
            return None
        metrics.PREDICTIONS_IN_FLIGHT.inc()
        try:
            answer = predict_values(served, values)
            request_id = accepted_or_new(fields.get(b"x-request-id", b"").decode("ascii"))
            answer["request_id"] = request_id
            encoded = encode(answer)
            response = b"%b%d%b%b\r\nCache-Control: no-store\r\n\r\n%b" % (
                self._head_now(),
                len(encoded),
                self._named,
                request_id.encode(),
                encoded,
            )
        # Flask's view will fail in the same way, and knows how to say so.
        except Exception:
            _log.exception("the fast lane could not answer; Flask is asked")
            return None
        finally:
            metrics.PREDICTIONS_IN_FLIGHT.dec()
        seconds = time.perf_counter() - started
        line = {
            "method": "POST",
            "path": "/predict",
            "route": "/predict",
            "status": 200,
            "duration_ms": round(seconds * 1000, 3),
            "request_bytes": len(body),
            "response_bytes": len(encoded),
            "request_id": request_id,
            "client": client,
        }
        if key_id is not None:
            line["api_key"] = key_id
        line["model_version"] = served.version
        request_log.write(line)
        metrics.observe("/predict", "POST", 200, seconds)
        return response

    def _key_id(self, fields: dict[bytes, bytes]) -> str | None:
        key = fields.get(b"x-api-key")
        if not key:
            scheme, _, key = fields.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer":
                return None
        return self._keys.identify(key.strip().decode("ascii"))

    def _head_now(self) -> bytes:
        """As Gunicorn writes it, up to the body's length."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._head = (
                f"HTTP/1.1 200 OK\r\nServer: {gunicorn.SERVER}\r\nDate: {formatdate(second, usegmt=True)}\r\n"
                "Connection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: "
            ).encode()
        return self._head


def init_app(app: Flask, holder: ModelHolder, settings: ApiSettings) -> None:
    """Make the lane for Gunicorn's worker to find, unless the setting turns it off."""
    app.extensions["fast_lane"] = FastLane(holder, settings) if settings.fast_lane == "on" else None
