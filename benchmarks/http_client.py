"""Requests one at a time, for checks and for files; wrk makes the load."""

import http.client
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from benchmarks.forms import Form, Headers, Rows
from benchmarks.work import BenchmarkError

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Answer:
    """Status, headers with names in lower case, body."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Transfer:
    """A file sent and its answer read to the end."""

    seconds: float
    answer_bytes: int
    answer_lines: int


def _connect(base_url: str, timeout: float) -> http.client.HTTPConnection:
    address = urllib.parse.urlsplit(base_url)
    return http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=timeout, blocksize=_BLOCK)


def post(base_url: str, form: Form, rows: Rows, timeout: float = 60.0) -> Answer:
    """Send rows in a form; raises OSError or http.client.HTTPException where there is no answer."""
    connection = _connect(base_url, timeout)
    try:
        headers = {"Content-Type": form.content_type, **form.headers(rows)}
        connection.request("POST", form.path, form.body(rows), headers)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def get_status(base_url: str, path: str, timeout: float = 5.0) -> int:
    """The status of a GET; raises as `post` does."""
    connection = _connect(base_url, timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def send_file(base_url: str, path: Path, content_type: str, timeout: float = 300.0) -> Transfer:
    """Send a file to /predict and read the whole answer.

    Raises:
        BenchmarkError: the answer is not 200, or was cut.
    """
    connection = _connect(base_url, timeout)
    try:
        headers = {"Content-Type": content_type, "Content-Length": str(path.stat().st_size)}
        began = time.perf_counter()
        with path.open("rb") as file:
            connection.request("POST", "/predict", file, headers)
        response = connection.getresponse()
        size = lines = 0
        buffer = bytearray(_BLOCK)
        while count := response.readinto(buffer):
            if not size and response.status != 200:
                raise BenchmarkError(
                    f"a file was answered with {response.status}: {bytes(buffer[: min(count, 200)])!r}"
                )
            size += count
            lines += buffer.count(b"\n", 0, count)
        return Transfer(time.perf_counter() - began, size, lines)
    except http.client.HTTPException as error:
        raise BenchmarkError(f"the answer to a file was cut: {error!r}") from None
    finally:
        connection.close()
