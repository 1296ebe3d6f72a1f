"""HTTP calls to one service, as both clients make them: address, key, request id, timeouts, log."""

import logging
import re
import uuid
from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import urlsplit

import requests

from streamlit_app.clients.errors import ApiAway, ApiError, ApiUnexpected

CONNECT_TIMEOUT_SECONDS = 2.0

log = logging.getLogger(__name__)

_SENDABLE = re.compile(r"[!-~]*")


class HttpClient(ABC):
    """Calls to the service at `base_url`, such as http://127.0.0.1:5000; the key is in no message and no log."""

    service = ""
    # The environment variable of the address.
    setting = ""
    unreached: type[ApiAway] = ApiAway

    def __init__(self, base_url: str, key: str = "") -> None:
        self.base_url = base_url.strip().rstrip("/")
        self._key = key.strip()

    def _call(
        self, method: str, path: str, read_timeout: float, headers: dict[str, str] | None = None, **content: Any
    ) -> tuple[requests.Response, str]:
        """Return an answer with a status of 200 or 202 and its request id.

        Raises:
            ApiError: anything else.
        """
        if urlsplit(self.base_url).scheme not in {"http", "https"}:
            log.error("%s=%r is not an address such as http://127.0.0.1:5000", self.setting, self.base_url)
            raise ApiUnexpected(f"The address of the {self.service} is not configured ({self.setting}).")
        # requests would repeat a header that it cannot send in its message.
        if not _SENDABLE.fullmatch(self._key):
            raise self._unsendable_key()
        request_id = uuid.uuid4().hex
        head = {"X-Request-ID": request_id, "Accept": "application/json", **(headers or {})}
        if self._key:
            head["Authorization"] = f"Bearer {self._key}"
        try:
            response = self._send(
                method,
                path,
                headers=head,
                timeout=(CONNECT_TIMEOUT_SECONDS, read_timeout),
                allow_redirects=False,
                **content,
            )
        except requests.RequestException as error:
            log.warning("%s %s request_id=%s: %s", method, self.base_url + path, request_id, error)
            if isinstance(error, requests.Timeout):
                raise ApiAway(f"The {self.service} did not answer in time.", request_id=request_id) from error
            raise self.unreached(f"The {self.service} does not answer.", request_id=request_id) from error
        request_id = response.headers.get("X-Request-ID", request_id)
        if response.status_code not in {200, 202}:
            log.warning("%s %s request_id=%s: status %d", method, path, request_id, response.status_code)
            raise self._failure(response, request_id)
        return response, request_id

    @abstractmethod
    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send a request with the arguments of `requests.request`."""

    @abstractmethod
    def _unsendable_key(self) -> ApiError:
        """Return the error for a key that no header can hold."""

    @abstractmethod
    def _failure(self, response: requests.Response, request_id: str) -> ApiError:
        """Return the error for an answer with another status than 200 or 202."""
