"""One row of JSON to `POST /predict`, answered from the request's bytes without Flask.

Flask and Gunicorn's parser take ten times as long as the prediction. The fast path answers only one whole request with
a clean row, by the same functions as Flask's view and in the same bytes. Flask answers everything else, all errors
included, so that each rule has one place.
"""

import logging
import re
import time
from email.utils import formatdate
from enum import Enum
from typing import Final, Literal

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


class NeedMore(Enum):
    """The type of `NEED_MORE`."""

    NEED_MORE = "need more"


# The request is not complete.
NEED_MORE: Final = NeedMore.NEED_MORE

_START = b"POST /predict HTTP/1.1\r\n"
_END = b"\r\n\r\n"
# Gunicorn limits a longer header; a row of a thousand features has about 32 KiB.
_MAX_HEADER_BYTES = 8000
_MAX_BODY_BYTES = 64 * 1024

# Stricter than Gunicorn and RFC 9110: visible ASCII only. The quantifiers are possessive (++ and *+): a hostile header
# would keep a backtracking match busy for minutes.
_FIELD = rb"([!#$%&'*+\-.^`|~0-9A-Za-z]++):([\x20-\x7e\t]*+)\r\n"
_fields = re.compile(_FIELD).findall
_is_header = re.compile(rb"(?:[!#$%&'*+\-.^`|~0-9A-Za-z]++:[\x20-\x7e\t]*+\r\n){1,60}+").fullmatch

_is_host = re.compile(rb"[A-Za-z0-9.\-:\[\]_]{1,255}").fullmatch
_is_length = re.compile(rb"[1-9][0-9]{0,5}").fullmatch
_JSON = {b"application/json", b"application/json; charset=utf-8", b"application/json;charset=utf-8"}
# Fields that change the framing or encoding of a body, the protocol of the connection, or the trusted scheme.
_FLASK_ONLY = {
    b"transfer-encoding",
    b"content-encoding",
    b"expect",
    b"upgrade",
    b"http2-settings",
    b"trailer",
    b"te",
} | {b"x-forwarded-protocol", b"x-forwarded-ssl"}

_log = logging.getLogger(__name__)


class FastPath:
    """Answers a request to predict one clean row, from the request's bytes."""

    def __init__(self, holder: ModelHolder, settings: ApiSettings) -> None:
        self._holder = holder
        self._keys = KeyRing(settings)
        self._max_body_bytes = min(_MAX_BODY_BYTES, settings.max_body_bytes)
        self._last_headers = f"\r\n{track.HEADER}: {settings.model_track}\r\n{HEADER}: ".encode()
        self._second = 0
        self._header = b""

    def answer(self, request: bytes, client: str) -> bytes | Literal[NeedMore.NEED_MORE] | None:
        """Return the whole response, `NEED_MORE` for a partial request, or None for a request that Flask must answer.

        client is the address to log. Every response keeps the connection open.
        """
        if not request.startswith(_START):
            return None
        started = time.perf_counter()
        end = request.find(_END)
        if end < 0:
            return NEED_MORE if len(request) < _MAX_HEADER_BYTES else None
        header = request[len(_START) : end + 2]
        if end > _MAX_HEADER_BYTES or not _is_header(header):
            return None
        fields = {name.lower(): value.strip(b" \t") for name, value in _fields(header)}
        length = fields.get(b"content-length", b"")
        if (
            # A duplicate field; Gunicorn has the rules.
            len(fields) != header.count(b"\r\n")
            or not _is_length(length)
            or int(length) > self._max_body_bytes
            or fields.get(b"content-type") not in _JSON
            or fields.get(b"connection", b"keep-alive").lower() != b"keep-alive"
            or not _is_host(fields.get(b"host", b""))
            or not _FLASK_ONLY.isdisjoint(fields)
        ):
            return None
        missing = end + 4 + int(length) - len(request)
        if missing:
            # Bytes after the body are a pipelined request.
            return NEED_MORE if missing > 0 else None
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
                self._first_headers(),
                len(encoded),
                self._last_headers,
                request_id.encode(),
                encoded,
            )
        # Flask's view will fail in the same way, and has the answer for it.
        except Exception:
            _log.exception("the fast path failed; Flask answers the request")
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

    def _first_headers(self) -> bytes:
        """Return the status line and the headers before the body's length, as Gunicorn writes them."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._header = (
                f"HTTP/1.1 200 OK\r\nServer: {gunicorn.SERVER}\r\nDate: {formatdate(second, usegmt=True)}\r\n"
                "Connection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: "
            ).encode()
        return self._header


def init_app(app: Flask, holder: ModelHolder, settings: ApiSettings) -> None:
    """Make the fast path, which Gunicorn's worker finds in the extensions, unless the setting turns it off."""
    app.extensions["fast_path"] = FastPath(holder, settings) if settings.fast_lane == "on" else None
