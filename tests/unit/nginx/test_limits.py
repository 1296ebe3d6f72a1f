"""Limits of rates, connections and files; stubs replace the API and the UI."""

import json
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.nginx.answers import check_problem, header

# --- limits ------------------------------------------------------------------------------------------------------


def statuses(edge, count: int, path: str = "/predict", **headers: str) -> Counter:
    sent = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Counter(edge.send(path, headers=sent).status for _ in range(count))


def test_keys_are_passed_on_and_not_logged(start):
    edge = start(RATE_LIMIT=1, RATE_BURST=2, API_KEYS="a:b")
    for _ in range(6):
        edge.send("/predict", headers=(("Authorization", "Bearer s3cret-one"), ("X-API-Key", "s3cret-two")))
    assert header(edge.api.received[0], "authorization") == "Bearer s3cret-one"
    assert header(edge.api.received[0], "x-api-key") == "s3cret-two"
    lines = edge.stop()
    assert len(lines) == 6
    assert "s3cret" not in "".join(lines) + (edge.access_log.parent / "error.log").read_text()


def test_more_than_the_burst_is_a_json_429_with_retry_after(start):
    edge = start(RATE_LIMIT=2, RATE_BURST=4)
    answers = [edge.send("/predict", "POST", body=b"{}") for _ in range(12)]
    rejected = [answer for answer in answers if answer.status == 429]
    # One at once and a burst of four, and those of the time that passed.
    assert 5 <= len(edge.api.received) <= 8
    assert len(rejected) == 12 - len(edge.api.received)
    for answer in rejected:
        check_problem(answer, 429)
        assert answer.headers.get_all("Retry-After") == ["1"]
    time.sleep(1.1)
    assert edge.send("/predict", "POST", body=b"{}").status == 200


def test_probes_and_pages_are_not_limited(start):
    edge = start(RATE_LIMIT=1, RATE_BURST=0, CONNECTION_LIMIT=1)
    assert statuses(edge, 5)[429] >= 3
    for path in ("/health", "/ready", "/v2/health/live", "/v2/health/ready", "/nginx-health", "/", "/static/a.js"):
        assert statuses(edge, 5, path) == {200: 5}, path
    assert statuses(edge, 3, "/health/x")[429] >= 2


@pytest.mark.parametrize("name", ["X_API_Key", "Authorization"])
def test_each_key_has_a_limit_of_its_own(start, name):
    edge = start(RATE_LIMIT=1, RATE_BURST=1, API_KEYS_FILE="/somewhere")
    form = "{}" if name == "X_API_Key" else "Bearer {}"
    assert statuses(edge, 6, **{name: form.format("one")})[429] >= 3
    assert statuses(edge, 2, **{name: form.format("two")}) == {200: 2}
    # Without a key, the address counts.
    assert statuses(edge, 2) == {200: 2}


def test_the_same_key_in_either_header_has_one_limit(start):
    edge = start(RATE_LIMIT=1, RATE_BURST=3, API_KEYS="a:b")
    statuses(edge, 5, X_API_Key="one")
    assert statuses(edge, 3, Authorization="bearer  one")[429] >= 2


def test_invented_keys_share_a_limit_if_the_api_checks_none(start):
    edge = start(RATE_LIMIT=1, RATE_BURST=1)
    seen = Counter(edge.send("/predict", headers=(("X-API-Key", f"key-{number}"),)).status for number in range(8))
    assert seen[429] >= 5


def test_connections_are_counted_for_each_address(start):
    edge = start(CONNECTION_LIMIT=2)
    release = threading.Event()
    edge.api.answer = lambda _: (release.wait(20) and 200, {}, b"")
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(edge.send, "/predict") for _ in range(2)]
        deadline = time.monotonic() + 10
        while len(edge.api.received) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        answer = edge.send("/predict")
        check_problem(answer, 429)
        assert answer.headers.get_all("Retry-After") == ["1"]
        release.set()
        assert [future.result().status for future in waiting] == [200, 200]
    assert edge.send("/predict").status == 200


# --- files --------------------------------------------------------------------------------------------------------

TABLES = [
    "text/csv",
    "text/csv; charset=utf-8",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
]


@pytest.mark.parametrize("resolve", ["off", "on"])
@pytest.mark.parametrize("kind", [*TABLES, "application/json", "text/csvx", ""])
def test_files_have_a_limit_of_their_own(start, kind, resolve):
    edge = start(MAX_BODY_BYTES=1000, MAX_FILE_BYTES=300_000, UPSTREAM_RESOLVE=resolve)
    limit = 300_000 if kind in TABLES else 1000
    for size, status in ((limit, 200), (limit + 1, 413)):
        answer = edge.send("/predict?a=%20b", "POST", (("Content-Type", kind),), b"x" * size)
        assert answer.status == status
    check_problem(answer, 413)
    assert f"larger than {limit} bytes" in json.loads(answer.content)["detail"]
    (received,) = edge.api.received
    assert (received.path, len(received.body), header(received, "content-type")) == ("/predict?a=%20b", limit, kind)


def test_files_go_to_predict_alone(start):
    edge = start(MAX_BODY_BYTES=1000)
    csv = (("Content-Type", "text/csv"),)
    for path in ("/explain", "/v2/models/iris/infer", "/predict/"):
        check_problem(edge.send(path, "POST", csv, b"x" * 1001), 413)
    assert edge.api.received == []


@pytest.mark.parametrize("resolve", ["off", "on"])
def test_a_file_is_sent_again_when_a_worker_dies(start, resolve):
    edge = start(UPSTREAM_RESOLVE=resolve)
    edge.api.answer = lambda _: None if len(edge.api.received) == 1 else (200, {}, b"fine")
    body = bytes(range(256)) * 20_000
    assert edge.send("/predict", "POST", (("Content-Type", "text/csv"),), body).content == b"fine"
    assert [(received.path, received.body) for received in edge.api.received] == [("/predict", body)] * 2


def test_a_cut_upload_never_reaches_the_api(start):
    edge = start()
    with edge.context.wrap_socket(
        socket.create_connection(("127.0.0.1", edge.https_port)), server_hostname="localhost"
    ) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\nContent-Length: 99999\r\n\r\nabc"
        )
    time.sleep(0.3)
    assert edge.api.received == []


def test_files_at_once_are_limited(start):
    edge = start()
    release = threading.Event()
    edge.api.answer = lambda _: (release.wait(20) and 200, {}, b"")
    csv = (("Content-Type", "text/csv"),)
    # For one address; all addresses together have twice as many.
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(edge.send, "/predict", "POST", csv, b"x") for _ in range(4)]
        deadline = time.monotonic() + 10
        while len(edge.api.received) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        answer = edge.send("/predict", "POST", csv, b"x")
        check_problem(answer, 429)
        assert answer.headers.get_all("Retry-After") == ["1"]
        release.set()
        assert [future.result().status for future in waiting] == [200] * 4
