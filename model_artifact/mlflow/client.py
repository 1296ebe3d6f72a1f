"""Speak to an MLflow tracking server in plain REST: training and API need none of MLflow's own packages for it."""

from __future__ import annotations

import base64
import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from model_training.registry.registry import RegistryError

# Seconds for a connection, and for each further piece of an answer.
TIMEOUT_SECONDS = 10.0
# Seconds for an answer, but for files.
ANSWER_SECONDS = 30.0
# Seconds that the server may take to store a file that it has got.
UPLOAD_SECONDS = 120.0
# Far above what a registered model with thousands of tags takes.
MAX_ANSWER_BYTES = 8 * 1024**2

_CHUNK = 256 * 1024
_MAX_REASON = 300
_Answer = TypeVar("_Answer")


class NotThere(RegistryError):
    """The server knows no such thing."""


class _Failure(msgspec.Struct):
    """How MLflow says what is wrong."""

    error_code: str = ""
    message: str = ""


class TrackingServer:
    """One server under its address; every failure is a RegistryError."""

    def __init__(
        self,
        uri: str,
        authorization: str | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """
        Raises:
            RegistryError: uri is no address of http or https.
        """
        parts = urllib.parse.urlsplit(uri)
        try:
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise RegistryError("MLFLOW_TRACKING_URI is no address such as http://mlflow-server:5002")
        if parts.username is not None:
            user, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
            authorization = _basic(user, password)
        # Without user and password: it stands in messages.
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._timeout = timeout_seconds
        self._headers = {"Authorization": authorization} if authorization else {}
        self._opener = urllib.request.OpenerDirector()
        # No redirects: they would carry the credentials to wherever they lead.
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(context=tls),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
        ):
            self._opener.add_handler(handler)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> TrackingServer:
        """The server of MLFLOW_TRACKING_URI, with credentials and certificates by MLflow's own variables.

        Raises:
            RegistryError: one of them cannot be used.
        """
        user, password = environ.get("MLFLOW_TRACKING_USERNAME"), environ.get("MLFLOW_TRACKING_PASSWORD")
        token = environ.get("MLFLOW_TRACKING_TOKEN")
        authorization = _basic(user, password) if user and password else f"Bearer {token}" if token else None
        return cls(environ.get("MLFLOW_TRACKING_URI", "").strip(), authorization, _tls(environ))

    def get(self, path: str, answer: type[_Answer], **query: str) -> _Answer:
        """What `GET /api/2.0/mlflow/PATH` answers.

        Raises:
            NotThere: there is no such thing.
            RegistryError: the server cannot be reached, refuses, or answers something else.
        """
        url = f"/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}"
        return self._decode(self._ask("GET", url), answer)

    def send(self, path: str, body: Mapping[str, Any], answer: type[_Answer], method: str = "POST") -> _Answer:
        """What `POST /api/2.0/mlflow/PATH` answers to a body of JSON; raises as `get`."""
        headers = {"Content-Type": "application/json"}
        return self._decode(self._ask(method, f"/api/2.0/mlflow/{path}", msgspec.json.encode(body), headers), answer)

    def files(self, folder: str) -> list[str]:
        """Names of the files in a folder of the artifacts that the server hands out; raises as `get`."""
        url = f"/api/2.0/mlflow-artifacts/artifacts?{urllib.parse.urlencode({'path': folder})}"
        return [entry.path for entry in self._decode(self._ask("GET", url), _Listing).files if not entry.is_dir]

    def download(self, artifact: str, target: Path, max_bytes: int, seconds: float) -> None:
        """Write one of the artifacts that the server hands out into a file.

        Raises:
            NotThere: there is no such file.
            RegistryError: as `get`; or it has more than max_bytes, or takes longer than so many seconds.
            OSError: the file cannot be written.
        """
        deadline = time.monotonic() + seconds
        with self._open("GET", _artifact_url(artifact)) as response, target.open("wb") as file:
            for chunk in self._chunks(response, max_bytes, deadline, artifact):
                file.write(chunk)

    def upload(self, source: Path, artifact: str) -> None:
        """Have the server store a file among its artifacts.

        Raises:
            RegistryError: as `get`.
            OSError: the file cannot be read.
        """
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(source.stat().st_size)}
        with source.open("rb") as file:
            self._ask("PUT", _artifact_url(artifact), file, headers, UPLOAD_SECONDS)

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> bytes:
        with self._open(method, path, body, headers, timeout) as response:
            deadline = time.monotonic() + ANSWER_SECONDS
            return b"".join(self._chunks(response, MAX_ANSWER_BYTES, deadline, "its answer"))

    def _open(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        request = urllib.request.Request(  # noqa: S310 # The address was checked to be http or https.
            self.address + path, data=body, headers={**self._headers, **(headers or {})}, method=method
        )
        try:
            return self._opener.open(request, timeout=timeout or self._timeout)
        except urllib.error.HTTPError as error:
            raise self._failure(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._away(error) from error

    def _chunks(self, response: Any, max_bytes: int, deadline: float, what: str) -> Any:
        size = 0
        while True:
            try:
                # What has come, without waiting for more: else a trickle would outlast every deadline.
                chunk = response.read1(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise self._away(error) from error
            if not chunk:
                break
            size += len(chunk)
            if size > max_bytes:
                raise RegistryError(
                    f"MLflow at {self.address}: {what} has more than the {max_bytes} bytes that are taken"
                )
            if time.monotonic() > deadline:
                raise RegistryError(f"MLflow at {self.address} is too slow: {what} did not come in time")
            yield chunk
        if response.length:
            raise RegistryError(f"MLflow at {self.address} broke off: {response.length} bytes of {what} are missing")

    def _failure(self, error: urllib.error.HTTPError) -> RegistryError:
        """What an answer of 300 or above means."""
        failure = _Failure()
        text = ""
        with error:
            try:
                raw = error.read(MAX_ANSWER_BYTES)
                text = raw.decode(errors="replace")
                failure = msgspec.json.decode(raw, type=_Failure)
            except (OSError, http.client.HTTPException, msgspec.MsgspecError):
                pass
        # A page of HTML tells nobody anything.
        reason = failure.message or ("" if text.lstrip().startswith("<") else text)
        reason = " ".join(reason.split())[:_MAX_REASON].encode("unicode_escape").decode()
        if failure.error_code == "RESOURCE_DOES_NOT_EXIST" or (error.code == 404 and failure.message):
            return NotThere(f"MLflow at {self.address}: {reason}")
        if error.code == 401:
            reason = reason or "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return RegistryError(f"MLflow at {self.address} answered {error.code}" + (f": {reason}" if reason else ""))

    def _away(self, error: Exception) -> RegistryError:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            return RegistryError(f"MLflow at {self.address} does not answer in time")
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        return RegistryError(f"MLflow at {self.address} cannot be reached: {reason}")

    def _decode(self, raw: bytes, answer: type[_Answer]) -> _Answer:
        try:
            return msgspec.json.decode(raw or b"{}", type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RegistryError(f"{self.address} does not answer as MLflow does: {error}") from error


class _Entry(msgspec.Struct):
    path: str
    is_dir: bool = False


class _Listing(msgspec.Struct):
    files: list[_Entry] = []


def _artifact_url(path: str) -> str:
    return f"/api/2.0/mlflow-artifacts/artifacts/{urllib.parse.quote(path)}"


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    insecure = environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    authority = environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    if not insecure and not authority:
        return None
    try:
        context = ssl.create_default_context(cafile=authority or None)
    except OSError as error:
        raise RegistryError(f"MLFLOW_TRACKING_SERVER_CERT_PATH={authority} cannot be used: {error}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
