"""The prediction API over HTTP: typed answers, and one family of errors made of sentences for people.

Knows nothing of Streamlit. One client is shared by all threads of a process.
"""

import logging
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from card import CardError, ModelCard, parse_card

CONNECT_TIMEOUT_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 10.0
# More sessions than this at the same moment still work; they only do not keep their connection.
POOL_SIZE = 32

log = logging.getLogger("streamlit_app.api_client")

_SENDABLE = re.compile(r"[!-~]*")


@dataclass(frozen=True)
class FieldMessage:
    """What the API says of one field."""

    field: str
    message: str


@dataclass(frozen=True)
class Prediction:
    """One predicted row. `seconds` is the time that the call took, seen from here."""

    class_name: str
    probabilities: Mapping[str, float]
    model_version: str
    request_id: str
    warnings: tuple[FieldMessage, ...]
    seconds: float


class ApiError(Exception):
    """The API gave no answer that can be shown. `message` says what happened, `advice` what to do."""

    advice = "Try again. If it happens again, give the request id to whoever runs the service."

    def __init__(self, message: str, *, request_id: str = "", fields: tuple[FieldMessage, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id
        self.fields = fields


class ApiAway(ApiError):
    """No API was reached, or not in time."""

    advice = "It may be starting or being updated: try again in a few seconds."


class ApiNotReady(ApiError):
    """The API runs and has no model."""

    advice = "It recovers by itself as soon as a good model is in place: try again in a moment."


class InputRejected(ApiError):
    """The values do not fit the model; `fields` names them."""

    advice = "Change the values that are named and predict again."


class InputTooBig(ApiError):
    """More was sent than the API takes in one request."""

    advice = "Send less at a time."


class ApiKeyRefused(ApiError):
    """The API wants a key, and this page has none or another."""

    advice = "Whoever runs the service sets API_KEY of the user interface to a key that the API knows."


class ApiUnexpected(ApiError):
    """An answer that the API's contract does not know."""


def _json_object(response: requests.Response) -> dict[str, Any]:
    """The decoded body, or an empty dict when it is not a JSON object (a proxy's HTML page, say)."""
    try:
        body = response.json()
    except requests.exceptions.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _sentence(body: dict[str, Any]) -> str:
    detail = body.get("detail") or body.get("error")
    return detail.strip()[:500] if isinstance(detail, str) else ""


def _field_messages(entries: Any) -> tuple[FieldMessage, ...]:
    if not isinstance(entries, list):
        return ()
    return tuple(
        FieldMessage(str(entry.get("field", "")), str(entry.get("message", "")))
        for entry in entries
        if isinstance(entry, dict)
    )


def _failure(response: requests.Response, request_id: str) -> ApiError:
    """The error that an answer other than 200 stands for."""
    body = _json_object(response)
    sentence = _sentence(body)
    request_id = response.headers.get("X-Request-ID", request_id)
    if response.status_code == 422 and body:
        fields = _field_messages(body.get("errors"))
        message = sentence or "The prediction service refused these values."
        return InputRejected(message, request_id=request_id, fields=fields)
    if response.status_code == 401:
        return ApiKeyRefused("The prediction service does not accept the key of this page.", request_id=request_id)
    if response.status_code == 413:
        return InputTooBig("This is more than the prediction service takes at once.", request_id=request_id)
    if response.status_code == 503 and sentence:
        return ApiNotReady(f"The prediction service is not ready: {sentence}", request_id=request_id)
    if response.status_code == 429:
        return ApiAway("The prediction service is busy.", request_id=request_id)
    if response.status_code in {502, 503, 504}:
        return ApiAway("The prediction service does not answer.", request_id=request_id)
    return ApiUnexpected(f"The prediction service failed (status {response.status_code}).", request_id=request_id)


class ApiClient:
    """Calls to the API at `base_url`, such as http://127.0.0.1:5000. Every method raises ApiError.

    `api_key` goes with every call, and into no message and no log.
    """

    def __init__(self, base_url: str, api_key: str = "") -> None:
        self.base_url = base_url.strip().rstrip("/")
        self._api_key = api_key.strip()
        self._session = requests.Session()
        # A proxy for the internet (HTTP_PROXY, which Docker puts into containers) must not get calls to a neighbour.
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=POOL_SIZE))

    def close(self) -> None:
        self._session.close()

    def model_card(self) -> ModelCard:
        """The card of the model that serves now."""
        response, request_id = self._call("GET", "/model")
        try:
            return parse_card(_json_object(response))
        except CardError as error:
            log.warning("GET /model request_id=%s: %s", request_id, error)
            raise ApiUnexpected(
                "The prediction service describes its model in a way that this page does not understand.",
                request_id=request_id,
            ) from error

    def predict(self, row: Mapping[str, float]) -> Prediction:
        """The class of one row, given by the names of the features."""
        started = time.perf_counter()
        response, request_id = self._call("POST", "/predict", dict(row))
        seconds = time.perf_counter() - started
        body = _json_object(response)
        try:
            probabilities = {str(name): float(value) for name, value in body["probabilities"].items()}
            class_name, version = str(body["class_name"]), str(body["model_version"])
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            log.warning("POST /predict request_id=%s: not a prediction (%r)", request_id, error)
            raise ApiUnexpected(
                "The prediction service gave an answer that this page does not understand.", request_id=request_id
            ) from error
        warnings = _field_messages(body.get("warnings"))
        return Prediction(class_name, probabilities, version, request_id, warnings, seconds)

    def _call(self, method: str, path: str, body: dict[str, float] | None = None) -> tuple[requests.Response, str]:
        """A 200 answer and its request id; anything else is raised."""
        if urlsplit(self.base_url).scheme not in {"http", "https"}:
            log.error("API_BASE_URL=%r is not an address such as http://127.0.0.1:5000", self.base_url)
            raise ApiUnexpected("This page does not know where its prediction service is (API_BASE_URL).")
        # The HTTP library would repeat what it cannot send, and the log with it.
        if not _SENDABLE.fullmatch(self._api_key):
            log.error("API_KEY holds a character that no key has")
            raise ApiKeyRefused("The key of this page (API_KEY) is not one that can be sent.")
        request_id = uuid.uuid4().hex
        headers = {"X-Request-ID": request_id, "Accept": "application/json"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        try:
            response = self._send(method, path, body, headers)
        except requests.Timeout as error:
            log.warning("%s %s request_id=%s: %s", method, self.base_url + path, request_id, error)
            raise ApiAway("The prediction service did not answer in time.", request_id=request_id) from error
        except requests.RequestException as error:
            log.warning("%s %s request_id=%s: %s", method, self.base_url + path, request_id, error)
            raise ApiAway("The prediction service does not answer.", request_id=request_id) from error
        request_id = response.headers.get("X-Request-ID", request_id)
        if response.status_code != 200:
            log.warning("%s %s request_id=%s: status %d", method, path, request_id, response.status_code)
            raise _failure(response, request_id)
        return response, request_id

    def _send(
        self, method: str, path: str, body: dict[str, float] | None, headers: dict[str, str]
    ) -> requests.Response:
        """One request, sent again once when its connection broke: a kept-alive one may have been dead already."""
        for last in (False, True):
            try:
                return self._session.request(
                    method,
                    self.base_url + path,
                    json=body,
                    headers=headers,
                    timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
                    allow_redirects=False,
                )
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
                # Sending a prediction twice changes nothing; waiting twice for a timeout would.
                if last or isinstance(error, requests.Timeout):
                    raise
        raise AssertionError("unreachable")
