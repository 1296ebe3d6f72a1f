"""Send single requests, for checks and files; wrk generates load."""

import http.client
import time
import urllib.parse
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.forms import Form, Headers, Rows
from benchmarks.work import BenchmarkError

_BLOCK = 1 << 20


@dataclass(frozen=True)
class HttpAnswer:
    """Status, headers with names in lower case, body."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Transfer:
    """An uploaded file whose answer was read to its end."""

    seconds: float
    answer_lines: int


def _connected(base_url: str, timeout: float) -> closing[http.client.HTTPConnection]:
    netloc = urllib.parse.urlsplit(base_url).netloc
    return closing(http.client.HTTPConnection(netloc, timeout=timeout, blocksize=_BLOCK))


def post(base_url: str, form: Form, rows: Rows, timeout: float = 60.0) -> HttpAnswer:
    """Send rows in a form; raises OSError or http.client.HTTPException without an answer."""
    with _connected(base_url, timeout) as connection:
        headers = {"Content-Type": form.content_type, **form.headers(rows)}
        connection.request("POST", form.path, form.body(rows), headers)
        response = connection.getresponse()
        return HttpAnswer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def is_ready(base_url: str, timeout: float = 5.0) -> bool:
    """Return whether GET /ready is 200; raises as `post` does."""
    with _connected(base_url, timeout) as connection:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200


def send_file(base_url: str, path: Path, content_type: str, timeout: float = 300.0) -> Transfer:
    """Send a file to /predict and read the whole answer.

    Raises:
        BenchmarkError: the answer is not 200, or was cut.
    """
    headers = {"Content-Type": content_type, "Content-Length": str(path.stat().st_size)}
    try:
        with _connected(base_url, timeout) as connection, path.open("rb") as file:
            began = time.perf_counter()
            connection.request("POST", "/predict", file, headers)
            response = connection.getresponse()
            if response.status != 200:
                raise BenchmarkError(f"a file was answered with {response.status}: {response.read(200)!r}")
            lines = 0
            buffer = bytearray(_BLOCK)
            while count := response.readinto(buffer):
                lines += buffer.count(b"\n", 0, count)
            return Transfer(time.perf_counter() - began, lines)
    except http.client.HTTPException as error:
        raise BenchmarkError(f"the answer to a file was cut: {error!r}") from None
