"""Unusual and hostile input: each row of the table in docs/api.md is sent to the API itself and through Nginx.

The documented status comes back as a complete problem, /health answers meanwhile, and no process grows.
"""

import contextlib
import gzip
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.system.test_edge import Answer, check_problem, connect, read

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
MAX_BODY_BYTES = int(os.environ.get("MAX_BODY_BYTES", "4194304"))
ROW = b'{"features":[5.1,3.5,1.4,0.2]}'
HEADER = b"sepal_length,sepal_width,petal_length,petal_width"
LINE = b"5.1,3.5,1.4,0.2"
MAX_GROWTH_KIB = 100 * 1024
# A worker that is held up, not one that is slow.
PROMPT_SECONDS = 15.0

JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}


def features(*values: str) -> bytes:
    return f'{{"features":[{",".join(values)}]}}'.encode()


def chunked(body: bytes, size: int = 65536) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def post(body: bytes, headers: dict[str, str] = JSON, path: str = "/predict", length: bool = True) -> bytes:
    """Return a whole request as bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] * length
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(*headers: str, path: str = "/health") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]).encode()


CHUNKED = {**JSON, "Transfer-Encoding": "chunked"}
BINARY = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"}
V2 = "/v2/models/iris/infer"
ARROW = {"Content-Type": "application/vnd.apache.arrow.stream"}
PARQUET = {"Content-Type": "application/vnd.apache.parquet"}


def tensor(shape: str, data: str = "[5.1,3.5,1.4,0.2]", more: str = "") -> bytes:
    return f'{{"inputs":[{{"name":"x","shape":{shape},"datatype":"FP32","data":{data}{more}}}]}}'.encode()


# The names are those of the table's first column.
INPUTS: dict[str, Callable[[], bytes]] = {
    "50,000 nested arrays": lambda: post(b"[" * 50_000),
    "100,000 nested objects": lambda: post(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a number of 5,000 digits": lambda: post(features("9" * 5000, "1", "1", "1")),
    "a number of 4,000,000 digits": lambda: post(features("9" * 4_000_000, "1", "1", "1")),
    "`1e400`": lambda: post(features("1e400", "1", "1", "1")),
    "`1e39`, beyond 32-bit floats": lambda: post(features("1e39", "1", "1", "1")),
    "`-0.0`": lambda: post(features("-0.0", "1", "1", "1")),
    "`NaN`, `Infinity`, `-Infinity`": lambda: post(features("NaN", "Infinity", "-Infinity", "1")),
    "a number as a string": lambda: post(features('"5.1"', "1", "1", "1")),
    "a duplicate key in an object": lambda: post(b'{"sepal_length":1,"sepal_length":2}'),
    "200,000 keys": lambda: post(json.dumps({f"k{number}": 1 for number in range(200_000)}).encode()),
    "half a surrogate pair": lambda: post(b'{"\\ud800":1}'),
    "invalid UTF-8": lambda: post(b'{"sepal_length":"\xff\xfe"}'),
    "zero bytes": lambda: post(b"\0" * 1000),
    "JSON after a byte order mark": lambda: post(b"\xef\xbb\xbf" + ROW),
    "1,300,000 empty instances": lambda: post(b'{"instances":[' + b"[]," * 1_300_000 + b"[]]}"),
    "100,001 instances": lambda: post(b'{"instances":[' + (ROW + b",") * 100_000 + ROW + b"]}"),
    "a body one byte under the limit": lambda: post(ROW.ljust(MAX_BODY_BYTES - 1)),
    "a body at the limit": lambda: post(ROW.ljust(MAX_BODY_BYTES)),
    "a body one byte over the limit": lambda: post(ROW.ljust(MAX_BODY_BYTES + 1)),
    "a length of 10^18 bytes": lambda: post(b"", {**JSON, "Content-Length": "1000000000000000000"}, length=False),
    "chunks without a length": lambda: post(chunked(ROW, 7), CHUNKED, length=False),
    "chunks, one byte over the limit": lambda: post(chunked(ROW.ljust(MAX_BODY_BYTES + 1)), CHUNKED, length=False),
    "a chunk whose length is not a number": lambda: post(b"zz\r\n\r\n", CHUNKED, length=False),
    "a chunk with 100,000 bytes of extension": lambda: post(
        b"1e;" + b"a" * 100_000 + b"\r\n" + ROW + b"\r\n0\r\n\r\n", CHUNKED, length=False
    ),
    "both a length and chunks": lambda: post(chunked(ROW), CHUNKED),
    "100 MB compressed by gzip to 100 KB": lambda: post(
        gzip.compress(b" " * 100_000_000), {**JSON, "Content-Encoding": "gzip"}
    ),
    "10,000 headers": lambda: get(*(f"X-{number}: a" for number in range(10_000))),
    "a header of 100,000 bytes": lambda: get("X-Big: " + "a" * 100_000),
    "an address of 100,000 bytes": lambda: get(path="/model?" + "a" * 100_000),
    "two Host headers": lambda: get("Host: other"),
    "not HTTP": lambda: b"\x16\x03\x01 nonsense\r\n\r\n",
    "another transfer coding": lambda: post(ROW, {**JSON, "Transfer-Encoding": "gzip"}, length=False),
    "CSV with a byte order mark, CRLF and quotes": lambda: post(
        b'\xef\xbb\xbf"sepal_length","sepal_width",petal_length,petal_width,"a ""note"", long"\r\n'
        + LINE
        + b',"two\r\nlines"\r\n',
        CSV,
    ),
    "CSV of a million columns": lambda: post(HEADER + b",x" * 1_000_000 + b"\n" + LINE + b",1" * 1_000_000, CSV),
    "CSV with one cell of 16 MB": lambda: post(HEADER + b",x\n" + LINE + b"," + b"a" * 16_000_000, CSV),
    "CSV that never closes its quote": lambda: post(HEADER + b'\n"' + (LINE + b"\n") * 100_000, CSV),
    "CSV with a row too short": lambda: post(HEADER + b"\n" + LINE + b"\n5.1,3.5\n", CSV),
    "CSV with zero bytes": lambda: post(HEADER + b"\n" + LINE + b"\0\n", CSV),
    "CSV with `nan` and `inf`": lambda: post(HEADER + b"\nnan,inf,1,1\n", CSV),
    "CSV with semicolons or tabs": lambda: post(HEADER.replace(b",", b";") + b"\n" + LINE.replace(b",", b";"), CSV),
    "an unknown `on_error`": lambda: post(HEADER + b"\n" + LINE, CSV, path="/predict?on_error=skip"),
    "`on_error=keep` with JSON": lambda: post(ROW, path="/predict?on_error=keep"),
    "CSV without rows": lambda: post(HEADER + b"\n", CSV),
    "not an Arrow stream": lambda: post(b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"a" * 1000, ARROW),
    "not a Parquet file": lambda: post(b"PAR1" + b"\xff" * 1000 + b"PAR1", PARQUET),
    "V2: a shape of 10^18 rows": lambda: post(tensor("[1000000000000000000,4]"), path=V2),
    "V2: a shape that does not fit its data": lambda: post(tensor("[2,4]"), path=V2),
    "V2: 50,000 arrays as data": lambda: post(tensor("[1,4]", "[" * 50_000 + "]" * 50_000), path=V2),
    "V2: less binary data than declared": lambda: post(
        b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}',
        {**BINARY, "Inference-Header-Content-Length": "94"},
        path=V2,
    ),
    "V2: JSON longer than the body": lambda: post(
        tensor("[1,4]"), {**BINARY, "Inference-Header-Content-Length": "999999999"}, path=V2
    ),
}

# Name, status of the API itself, status through Nginx if it differs.
ROWS = re.findall(
    r"^\| (.+?) \| (\d+)(?:, Nginx (\d+))? \| .* \|$", DOCUMENT.split("## Unusual and hostile")[1], re.MULTILINE
)


@pytest.fixture(params=["direct", "nginx"])
def way(request: pytest.FixtureRequest, target: Any) -> str:
    if request.param == "direct" and not target.api_url:
        pytest.skip("the API's own address is not known: set API_URL")
    return request.param


@contextlib.contextmanager
def connected(target: Any, way: str) -> Iterator[socket.socket]:
    if way == "nginx":
        with connect(target) as connection:
            yield connection
    else:
        address = urlsplit(target.api_url)
        with socket.create_connection((address.hostname, address.port or 80), timeout=60) as connection:
            yield connection


def exchange(target: Any, way: str, request: bytes) -> Answer:
    with connected(target, way) as connection:
        connection.settimeout(60)
        # The answer may come before the end of the body.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            connection.sendall(request)
        return read(connection)


class Health:
    """Request /health continuously, and record the longest duration."""

    def __init__(self, target: Any, way: str) -> None:
        self.longest, self.failures = 0.0, []
        self._target, self._way = target, way
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Health":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                status = exchange(self._target, self._way, get()).status
            except OSError as error:
                status = repr(error)
            self.longest = max(self.longest, time.monotonic() - began)
            if status != 200:
                self.failures.append(status)
            self._stop.wait(0.05)


def worker_memory(target: Any) -> dict[int, int]:
    """Return the KiB of each Gunicorn process of this port by its id, if it runs on this machine."""
    if not target.api_url:
        return {}
    marks = {f"API_PORT={urlsplit(target.api_url).port}".encode(), b"BIND_ADDRESS=127.0.0.1"}
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"gunicorn" not in (folder / "cmdline").read_bytes():
                continue
            if not marks <= set((folder / "environ").read_bytes().split(b"\0")):
                continue
            found[int(folder.name)] = int(re.search(r"VmRSS:\s+(\d+)", (folder / "status").read_text())[1])
    return found


@pytest.fixture(scope="module", autouse=True)
def bounded_memory(target: Any) -> Iterator[None]:
    """After all tests, no worker has grown by more than 100 MB, and none has died."""
    if target.api_url:
        # Loads the lazy imports before the first measurement.
        for _ in range(8):
            exchange(target, "direct", post(HEADER + b"\n" + LINE + b"\n", CSV))
            exchange(target, "direct", post(ROW.ljust(MAX_BODY_BYTES)))
    before = worker_memory(target)
    yield
    after = worker_memory(target)
    assert after.keys() == before.keys(), "a worker died"
    grown = {pid: after[pid] - before[pid] for pid in before}
    assert all(kib < MAX_GROWTH_KIB for kib in grown.values()), grown


def test_the_table_and_the_inputs_are_the_same() -> None:
    assert [name for name, _, _ in ROWS] == list(INPUTS)


@pytest.mark.parametrize(("name", "direct", "nginx"), ROWS, ids=[name.replace("`", "") for name, _, _ in ROWS])
def test_documented_answer(target: Any, way: str, name: str, direct: str, nginx: str) -> None:
    expected = int(nginx if way == "nginx" and nginx else direct)
    with Health(target, way) as health:
        answer = exchange(target, way, INPUTS[name]())
    assert answer.status == expected, answer.body[:500]
    if expected >= 400:
        problem = check_problem(answer, expected)
        assert len(problem["detail"]) < 5000
    assert health.failures == []
    assert health.longest < PROMPT_SECONDS


STALLED = {
    "in its head": get("X-Slow: a")[:60],
    "in its body": post(ROW)[:-5],
    "before its first byte": b"",
    "in a file": post((LINE + b"\n") * 10, CSV)[:-20],
}


@pytest.mark.parametrize("half", STALLED.values(), ids=STALLED)
def test_stalled_clients_do_not_delay_others(target: Any, way: str, half: bytes) -> None:
    """Forty clients, five times the threads of the API."""
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(connected(target, way)).sendall(half)
        time.sleep(0.5)
        with Health(target, way) as health:
            answers = [exchange(target, way, post(ROW)).status for _ in range(10)]
    assert answers == [200] * 10
    assert health.failures == []
    assert health.longest < PROMPT_SECONDS


def test_trickling_clients_do_not_delay_others(target: Any, way: str) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(target, way)) for _ in range(20)]
        with Health(target, way) as health:
            for byte in post(ROW)[:30]:
                for client in clients:
                    client.sendall(bytes([byte]))
                time.sleep(0.1)
    assert health.failures == []
    assert health.longest < PROMPT_SECONDS
