"""A large file through TLS and Nginx: memory, slow clients, and a worker that dies during the response."""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.local_stack.test_run import api_pids
from tests.stacks import ProcessStack

ROWS = 2_000_000
HEAD = b"id,sepal_length,sepal_width,petal_length,petal_width\n"


@pytest.fixture(scope="module")
def body() -> bytes:
    """About 46 MB."""
    return HEAD + b"".join(
        b"%07d,%d.1,3.%d,%d.4,0.%d\n" % (n, 4 + n % 4, n % 10, 1 + n % 6, 1 + n % 9) for n in range(ROWS)
    )


def answer(stack: ProcessStack, base: str, body: bytes) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(
            f"{base}/predict",
            data=body,
            headers={"Content-Type": "text/csv"},
            verify=stack.ca_cert,
            stream=True,
            timeout=120,
        )


def resident(pid: int) -> float:
    """Return the resident memory of the process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1000


def test_two_million_rows_in_bounded_memory(process_stack: ProcessStack, body: bytes) -> None:
    _, workers = api_pids(process_stack)
    before = {pid: resident(pid) for pid in workers}
    grown: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            grown.append(max(resident(pid) - before[pid] for pid in workers))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    try:
        got = answer(process_stack, process_stack.base_url, body)
        assert got.status_code == 200
        size = lines = 0
        last = b""
        for piece in got.iter_content(1 << 20):
            size += len(piece)
            lines += piece.count(b"\n")
            last = (last + piece)[-200:]
    finally:
        done.set()
        watcher.join()
    seconds = time.monotonic() - began
    print(
        f"{ROWS:,} rows, {len(body) / 1e6:.0f} MB in and {size / 1e6:.0f} MB out through Nginx and TLS:"
        f" {seconds:.1f} s, {ROWS / seconds:,.0f} rows/s; the worker grew by {max(grown):.0f} MB"
    )
    assert lines == ROWS + 1
    assert last.splitlines()[-1].startswith(b"%07d," % (ROWS - 1))
    assert max(grown) < 100


def test_a_client_that_pauses_gets_the_complete_response(process_stack: ProcessStack, body: bytes) -> None:
    """The response exceeds every buffer, and the client pauses for longer than a request may stall."""
    got = answer(process_stack, process_stack.base_url, body)
    pieces: Iterator[bytes] = got.iter_content(1 << 20)
    lines = next(pieces).count(b"\n")
    time.sleep(17)
    assert lines + sum(piece.count(b"\n") for piece in pieces) == ROWS + 1


@pytest.mark.parametrize("way", ["nginx", "direct"])
def test_a_truncated_response_is_an_error_for_the_client(process_stack: ProcessStack, body: bytes, way: str) -> None:
    base = process_stack.base_url if way == "nginx" else process_stack.api_url
    got = answer(process_stack, base, body)
    pieces: Iterator[bytes] = got.iter_content(1 << 16)
    next(pieces)
    _, workers = api_pids(process_stack)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        for _ in pieces:
            pass
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{process_stack.api_url}/ready", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise AssertionError("no worker was restarted")
