"""A small REST client of an MLflow tracking server, for the API, which does not install MLflow's own packages."""

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
from typing import Any, TypeVar

import msgspec

from model_artifact.errors import RegistryError, RegistryNotFoundError

# For a connection, and for each read.
TIMEOUT_SECONDS = 10.0
# For a whole response, except a file.
RESPONSE_SECONDS = 30.0
# Far above a registered model with thousands of tags.
MAX_RESPONSE_BYTES = 8 * 1024**2

_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_CHUNK_BYTES = 256 * 1024
_MAX_REASON_CHARACTERS = 300
_Response = TypeVar("_Response")


class _Failure(msgspec.Struct):
    """MLflow's error body."""

    error_code: str = ""
    message: str = ""


class TrackingServer:
    """A tracking server; every failure is a RegistryError."""

    def __init__(
        self,
        uri: str,
        authorization: str | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """
        Raises:
            RegistryError: uri is not an address of http or https.
        """
        parts = urllib.parse.urlsplit(uri)
        try:
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise RegistryError("MLFLOW_TRACKING_URI is not an address such as http://mlflow-server:5002")
        if parts.username is not None:
            user, password = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
            authorization = _basic(user, password)
        # Messages contain the address, so it must not contain user and password.
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        self._timeout = timeout_seconds
        self._headers = {"Authorization": authorization} if authorization else {}
        self._opener = urllib.request.OpenerDirector()
        # Without a handler of redirects, which would send the credentials to another server.
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
        """Return the server of MLFLOW_TRACKING_URI, with credentials and certificates from MLflow's own variables.

        Raises:
            RegistryError: a variable cannot be used.
        """
        user, password = environ.get("MLFLOW_TRACKING_USERNAME"), environ.get("MLFLOW_TRACKING_PASSWORD")
        token = environ.get("MLFLOW_TRACKING_TOKEN")
        authorization = _basic(user, password) if user and password else f"Bearer {token}" if token else None
        return cls(environ.get("MLFLOW_TRACKING_URI", "").strip(), authorization, _tls(environ))

    def get(self, path: str, kind: type[_Response], **query: str) -> _Response:
        """Send `GET /api/2.0/mlflow/PATH` and decode the response as `kind`.

        Raises:
            RegistryNotFoundError: the resource does not exist.
            RegistryError: the server cannot be reached, or responds with an error or in another form.
        """
        return self._decode(self._get(f"/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}"), kind)

    def files(self, folder: str) -> list[str]:
        """Return the names of the files in a folder of the server's artifacts; raises as `get`."""
        url = f"{_ARTIFACTS}?{urllib.parse.urlencode({'path': folder})}"
        return [entry.path for entry in self._decode(self._get(url), _Listing).files if not entry.is_dir]

    def download(self, artifact: str, target: Path, max_bytes: int, seconds: float) -> None:
        """Download one of the server's artifacts into a file.

        Raises:
            RegistryNotFoundError: there is no such file.
            RegistryError: as `get`; or the file has more than max_bytes, or takes longer than the given seconds.
            OSError: the file cannot be written.
        """
        deadline = time.monotonic() + seconds
        with self._open(f"{_ARTIFACTS}/{urllib.parse.quote(artifact)}") as response, target.open("wb") as file:
            for chunk in self._chunks(response, max_bytes, deadline, artifact):
                file.write(chunk)

    def _get(self, path: str) -> bytes:
        with self._open(path) as response:
            deadline = time.monotonic() + RESPONSE_SECONDS
            return b"".join(self._chunks(response, MAX_RESPONSE_BYTES, deadline, "the response"))

    def _open(self, path: str) -> Any:
        request = urllib.request.Request(  # noqa: S310 (the constructor allows http and https only)
            self.address + path, headers=self._headers
        )
        try:
            return self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            raise self._failure(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error

    def _chunks(self, response: Any, max_bytes: int, deadline: float, what: str) -> Any:
        size = 0
        while True:
            try:
                # `read1` returns what has arrived: a trickle must not outlast the deadline.
                chunk = response.read1(_CHUNK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            if not chunk:
                break
            size += len(chunk)
            if size > max_bytes:
                raise RegistryError(f"MLflow at {self.address}: {what} has more than the limit of {max_bytes} bytes")
            if time.monotonic() > deadline:
                raise RegistryError(f"MLflow at {self.address} is too slow: {what} did not arrive in time")
            yield chunk
        if response.length:
            raise RegistryError(
                f"MLflow at {self.address} closed the connection: {response.length} bytes of {what} are missing"
            )

    def _failure(self, error: urllib.error.HTTPError) -> RegistryError:
        """Return the error for a response with status 300 or above."""
        failure = _Failure()
        text = ""
        with error:
            try:
                raw = error.read(MAX_RESPONSE_BYTES)
                text = raw.decode(errors="replace")
                failure = msgspec.json.decode(raw, type=_Failure)
            except (OSError, http.client.HTTPException, msgspec.MsgspecError):
                pass
        # A page of HTML is useless in a message.
        reason = one_line(failure.message or ("" if text.lstrip().startswith("<") else text))
        if failure.error_code == "RESOURCE_DOES_NOT_EXIST" or (error.code == 404 and failure.message):
            return RegistryNotFoundError(f"MLflow at {self.address}: {reason}")
        if error.code == 401:
            reason = reason or "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return RegistryError(f"MLflow at {self.address} answered {error.code}" + (f": {reason}" if reason else ""))

    def _unreachable(self, error: Exception) -> RegistryError:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, TimeoutError):
            return RegistryError(f"MLflow at {self.address} does not answer in time")
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        return RegistryError(f"MLflow at {self.address} cannot be reached: {reason}")

    def _decode(self, raw: bytes, kind: type[_Response]) -> _Response:
        try:
            return msgspec.json.decode(raw or b"{}", type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RegistryError(f"{self.address} does not answer as MLflow does: {error}") from error


class _Entry(msgspec.Struct):
    path: str
    is_dir: bool = False


class _Listing(msgspec.Struct):
    files: list[_Entry] = []


def one_line(text: str) -> str:
    """Return the start of a server's message on one line, without control characters."""
    return " ".join(text.split())[:_MAX_REASON_CHARACTERS].encode("unicode_escape").decode()


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
