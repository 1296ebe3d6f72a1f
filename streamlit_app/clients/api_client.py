"""The prediction API over HTTP, with typed answers. It does not depend on Streamlit."""

import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from streamlit_app.clients.card import CardError, CardView, parse_card
from streamlit_app.clients.errors import (
    ApiAway,
    ApiError,
    ApiKeyRejected,
    ApiNotReady,
    ApiUnexpected,
    FieldNote,
    InputRejected,
    InputTooBig,
    detail,
    field_notes,
)
from streamlit_app.clients.http_client import HttpClient
from streamlit_app.clients.json_values import json_object

READ_TIMEOUT_SECONDS = 10.0
# A part of a table queues behind the parts of other visitors.
TABLE_TIMEOUT_SECONDS = 60.0
# More concurrent sessions still work, but do not keep their connection.
POOL_SIZE = 32
MAX_REMEMBERED_CALLS = 100
MAX_SENTENCE = 500
ARROW_STREAM = "application/vnd.apache.arrow.stream"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ApiCall:
    """One call: when, what, its status (0: no answer) and its duration."""

    at: datetime
    request: str
    status: int
    seconds: float


@dataclass(frozen=True)
class PredictedRow:
    """One predicted row. `seconds` is the duration of the call; `path` is /explain or /predict.

    `contributions` has for each class what each feature adds to its log-odds; None if the API does not explain.
    """

    class_name: str
    probabilities: Mapping[str, float]
    model_version: str
    request_id: str
    warnings: tuple[FieldNote, ...]
    seconds: float
    path: str
    contributions: Mapping[str, Mapping[str, float]] | None = None


@dataclass(frozen=True)
class Readiness:
    """A ready API; both are empty if it does not report them."""

    model_version: str
    signature: str


class ApiClient(HttpClient):
    """Calls to the prediction API, shared by all threads. Every method raises ApiError.

    `calls` are the most recent ones, oldest first.
    """

    service, setting = "prediction service", "API_BASE_URL"

    def __init__(self, base_url: str, api_key: str = "") -> None:
        super().__init__(base_url, api_key)
        self.calls: deque[ApiCall] = deque(maxlen=MAX_REMEMBERED_CALLS)
        self._session = requests.Session()
        # HTTP_PROXY, which Docker sets in containers, is for the internet and not for a service beside this one.
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=POOL_SIZE))

    def close(self) -> None:
        self._session.close()

    def model_card(self) -> CardView:
        """Return the card of the model that serves now."""
        response, request_id = self._call("GET", "/model", READ_TIMEOUT_SECONDS)
        try:
            return parse_card(json_object(response))
        except CardError as error:
            log.warning("GET /model request_id=%s: %s", request_id, error)
            raise ApiUnexpected(
                "The prediction service returned a model card that this page cannot read.", request_id=request_id
            ) from error

    def ready(self) -> Readiness:
        """Return the served version and the state of its signature."""
        body = json_object(self._call("GET", "/ready", READ_TIMEOUT_SECONDS)[0])
        return Readiness(str(body.get("model_version") or ""), str(body.get("signature") or ""))

    def predict(self, row: Mapping[str, float]) -> PredictedRow:
        """Return the class of one row; `row` has the features' names."""
        return self._prediction("/predict", row)

    def explain(self, row: Mapping[str, float]) -> PredictedRow:
        """Return the class of one row with contributions; without them if the API does not explain."""
        try:
            return self._prediction("/explain", row)
        except ApiUnexpected as error:
            if error.status not in {404, 405, 501}:
                raise
        return self.predict(row)

    def score(self, stream: bytes) -> bytes:
        """Return the Arrow stream of a table's features with the predictions as further columns."""
        headers = {"Content-Type": ARROW_STREAM, "Accept": ARROW_STREAM}
        return self._call("POST", "/predict", TABLE_TIMEOUT_SECONDS, headers, data=stream)[0].content

    def _prediction(self, path: str, row: Mapping[str, float]) -> PredictedRow:
        started = time.perf_counter()
        response, request_id = self._call("POST", path, READ_TIMEOUT_SECONDS, json=dict(row))
        seconds = time.perf_counter() - started
        body = json_object(response)
        try:
            contributions = body.get("contributions")
            return PredictedRow(
                class_name=str(body["class_name"]),
                probabilities=_floats(body["probabilities"]),
                model_version=str(body["model_version"]),
                request_id=request_id,
                warnings=field_notes(body.get("warnings")),
                seconds=seconds,
                path=path,
                contributions=contributions and {str(name): _floats(parts) for name, parts in contributions.items()},
            )
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            log.warning("POST %s request_id=%s: not a prediction (%r)", path, request_id, error)
            raise ApiUnexpected(
                "The prediction service returned an unexpected answer.", request_id=request_id
            ) from error

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request, a second time if its connection broke: a kept-alive one may have been closed already."""
        started, status = time.perf_counter(), 0
        try:
            for is_last in (False, True):
                try:
                    response = self._session.request(method, self.base_url + path, **arguments)
                    status = response.status_code
                    return response
                except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
                    # A prediction can be repeated; a second timeout would double the wait.
                    if is_last or isinstance(error, requests.Timeout):
                        raise
        finally:
            self.calls.append(ApiCall(datetime.now(UTC), f"{method} {path}", status, time.perf_counter() - started))
        raise AssertionError("unreachable")

    def _unsendable_key(self) -> ApiError:
        log.error("API_KEY contains a character that cannot be sent in a header")
        return ApiKeyRejected("The key of the user interface (API_KEY) contains invalid characters.")

    def _failure(self, response: requests.Response, request_id: str) -> ApiError:
        body, status = json_object(response), response.status_code
        sentence = detail(body, MAX_SENTENCE)
        known: dict[str, Any] = {"request_id": request_id, "status": status}
        if status == 422 and body:
            message = sentence or "The prediction service rejected these values."
            return InputRejected(message, fields=field_notes(body.get("errors")), **known)
        if status == 401:
            return ApiKeyRejected("The prediction service rejected the API key.", **known)
        if status == 413:
            return InputTooBig("The request is larger than the prediction service accepts.", **known)
        if status == 503 and sentence:
            return ApiNotReady(f"The prediction service is not ready: {sentence}", **known)
        if status == 429:
            return ApiAway("The prediction service is busy.", **known)
        if status in {502, 503, 504}:
            return ApiAway("The prediction service does not answer.", **known)
        return ApiUnexpected(f"The prediction service failed (status {status}).", **known)


def _floats(values: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}
