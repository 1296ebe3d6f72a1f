"""The prediction API over HTTP, with typed answers; what fails is one of api_errors.

Knows nothing of Streamlit. One client is shared by all threads of a process.
"""

import logging
import re
import time
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from streamlit_app.clients.card import CardError, CardView, parse_card
from streamlit_app.clients.errors import (
    ApiAway,
    ApiKeyRefused,
    ApiUnexpected,
    FieldNote,
    failure,
    field_messages,
    json_object,
)

CONNECT_TIMEOUT_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 10.0
# A piece of a table waits behind the pieces of others.
TABLE_TIMEOUT_SECONDS = 60.0
# More sessions than this at the same moment still work; they only do not keep their connection.
POOL_SIZE = 32
REMEMBERED_CALLS = 100
ARROW_STREAM = "application/vnd.apache.arrow.stream"

log = logging.getLogger("streamlit_app.api_client")

_SENDABLE = re.compile(r"[!-~]*")


@dataclass(frozen=True)
class Call:
    """One call that was made: when, what, how it ended (0: no answer), and how long it took."""

    at: datetime
    request: str
    status: int
    seconds: float


@dataclass(frozen=True)
class PredictedRow:
    """One predicted row. `seconds` is the time that the call took, seen from here; `path` was asked.

    `contributions` says for each class what each feature adds to its margin; None where the API did not tell.
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
    """What a ready API says of itself; `signature` is empty where it does not tell."""

    model_version: str
    signature: str


class ApiClient:
    """Calls to the API at `base_url`, such as http://127.0.0.1:5000. Every method raises ApiError.

    `api_key` goes with every call, and into no message and no log. `calls` are the last ones, oldest first.
    """

    def __init__(self, base_url: str, api_key: str = "") -> None:
        self.base_url = base_url.strip().rstrip("/")
        self.calls: deque[Call] = deque(maxlen=REMEMBERED_CALLS)
        self._api_key = api_key.strip()
        self._session = requests.Session()
        # A proxy for the internet (HTTP_PROXY, which Docker puts into containers) must not get calls to a neighbour.
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=POOL_SIZE))

    def close(self) -> None:
        self._session.close()

    def model_card(self) -> CardView:
        """The card of the model that serves now."""
        response, request_id = self._call("GET", "/model")
        try:
            return parse_card(json_object(response))
        except CardError as error:
            log.warning("GET /model request_id=%s: %s", request_id, error)
            raise ApiUnexpected(
                "The prediction service describes its model in a way that this page does not understand.",
                request_id=request_id,
            ) from error

    def ready(self) -> Readiness:
        """What the API says when it can predict."""
        response, _ = self._call("GET", "/ready")
        body = json_object(response)
        return Readiness(str(body.get("model_version") or ""), str(body.get("signature") or ""))

    def predict(self, row: Mapping[str, float]) -> PredictedRow:
        """The class of one row, given by the names of the features."""
        return self._prediction("/predict", row)

    def explain(self, row: Mapping[str, float]) -> PredictedRow:
        """The class of one row and why; without the why where the API has no reasons to give."""
        try:
            return self._prediction("/explain", row)
        except ApiUnexpected as error:
            if error.status not in {404, 405, 501}:
                raise
        return self.predict(row)

    def score(self, stream: bytes) -> bytes:
        """The Arrow stream of a table's features comes back with its predictions as further columns."""
        response, _ = self._call("POST", "/predict", stream, {"Content-Type": ARROW_STREAM, "Accept": ARROW_STREAM})
        return response.content

    def _prediction(self, path: str, row: Mapping[str, float]) -> PredictedRow:
        started = time.perf_counter()
        response, request_id = self._call("POST", path, dict(row))
        seconds = time.perf_counter() - started
        body = json_object(response)
        try:
            probabilities = {str(name): float(value) for name, value in body["probabilities"].items()}
            class_name, version = str(body["class_name"]), str(body["model_version"])
            contributions = body.get("contributions")
            if contributions is not None:
                contributions = {
                    str(label): {str(name): float(value) for name, value in parts.items()}
                    for label, parts in contributions.items()
                }
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            log.warning("POST %s request_id=%s: not a prediction (%r)", path, request_id, error)
            raise ApiUnexpected(
                "The prediction service gave an answer that this page does not understand.", request_id=request_id
            ) from error
        warnings = field_messages(body.get("warnings"))
        return PredictedRow(class_name, probabilities, version, request_id, warnings, seconds, path, contributions)

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, float] | bytes | None = None,
        head: Mapping[str, str] | None = None,
    ) -> tuple[requests.Response, str]:
        """A 200 answer and its request id; anything else is raised."""
        if urlsplit(self.base_url).scheme not in {"http", "https"}:
            log.error("API_BASE_URL=%r is not an address such as http://127.0.0.1:5000", self.base_url)
            raise ApiUnexpected("This page does not know where its prediction service is (API_BASE_URL).")
        # The HTTP library would repeat what it cannot send, and the log with it.
        if not _SENDABLE.fullmatch(self._api_key):
            log.error("API_KEY holds a character that no key has")
            raise ApiKeyRefused("The key of this page (API_KEY) is not one that can be sent.")
        request_id = uuid.uuid4().hex
        headers = {"X-Request-ID": request_id, "Accept": "application/json", **(head or {})}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        started, status = time.perf_counter(), 0
        try:
            response = self._send(method, path, body, headers)
            status = response.status_code
        except requests.Timeout as error:
            log.warning("%s %s request_id=%s: %s", method, self.base_url + path, request_id, error)
            raise ApiAway("The prediction service did not answer in time.", request_id=request_id) from error
        except requests.RequestException as error:
            log.warning("%s %s request_id=%s: %s", method, self.base_url + path, request_id, error)
            raise ApiAway("The prediction service does not answer.", request_id=request_id) from error
        finally:
            self.calls.append(Call(datetime.now(UTC), f"{method} {path}", status, time.perf_counter() - started))
        request_id = response.headers.get("X-Request-ID", request_id)
        if status != 200:
            log.warning("%s %s request_id=%s: status %d", method, path, request_id, status)
            raise failure(response, request_id)
        return response, request_id

    def _send(
        self, method: str, path: str, body: dict[str, float] | bytes | None, headers: dict[str, str]
    ) -> requests.Response:
        """One request, sent again once when its connection broke: a kept-alive one may have been dead already."""
        content: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        patience = TABLE_TIMEOUT_SECONDS if isinstance(body, bytes) else READ_TIMEOUT_SECONDS
        for last in (False, True):
            try:
                return self._session.request(
                    method,
                    self.base_url + path,
                    headers=headers,
                    timeout=(CONNECT_TIMEOUT_SECONDS, patience),
                    allow_redirects=False,
                    **content,
                )
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
                # Sending a prediction twice changes nothing; waiting twice for a timeout would.
                if last or isinstance(error, requests.Timeout):
                    raise
        raise AssertionError("unreachable")
