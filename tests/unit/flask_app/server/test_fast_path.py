"""The fast path answers plain requests with a clean row in the bytes of Flask, and leaves all others to Flask."""

import contextlib
import json
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flask_app.model import shadow
from flask_app.server.fast_path import NEED_MORE
from flask_app.settings import ApiSettings

ROW = b'{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'


def request(body: bytes = ROW, *headers: str, line: str = "POST /predict HTTP/1.1", length: object = None) -> bytes:
    fields = [
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        "X-Request-ID: same",
    ]
    return "\r\n".join([line, *fields, *headers]).encode("latin-1") + b"\r\n\r\n" + body


ROWS = {
    "by name": ROW,
    "in another order": b'{"petal_width":0.2,"sepal_length":5.1,"petal_length":1.4,"sepal_width":3.5}',
    "by position": b'{"features":[5.1,3.5,1.4,0.2]}',
    "integers": b'{"features":[5,3,1,0]}',
    "spaces": b' {\n\t"features" : [ 5.1 , 3.5e0 , 14E-1 , 0.2 ]\r\n} ',
    "outside of training": b'{"features":[5.1,-3.5,1.4,99]}',
    "zero": b'{"features":[0,0.0,1.4,0e5]}',
    "far outside": b'{"features":[3.4028234663852884e38,-3.4028234663852884e38,1e-320,0.0]}',
    "large integers": b'{"features":[123456789012345678,9007199254740993,18446744073709551616,0]}',
    "many digits": b'{"features":[5.0999999999999996447286321199499070644378662109375,3.5,1.4,0.2]}',
    "escaped name": b'{"sepal\\u005flength":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}',
}

# Bodies that Flask must answer; most answers are errors.
NOT_CLEAN = {
    "empty": b"",
    "no JSON": b"{",
    "two values": ROW + ROW,
    "an array": b"[5.1,3.5,1.4,0.2]",
    "null": b"null",
    "a name twice": b'{"sepal_length":1,"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}',
    "a name twice, escaped": (
        b'{"sepal_length":1,"sepal\\u005flength":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'
    ),
    "features twice": b'{"features":[1,2,3,4],"features":[5.1,3.5,1.4,0.2]}',
    "missing": b'{"sepal_length":5.1}',
    "unknown": ROW[:-1] + b',"colour":1}',
    "unknown in its place": ROW.replace(b"petal_width", b"petal_depth"),
    # A larger integer is rounded to it.
    "the largest number": b'{"features":[3.4028234663852886e38,3.5,1.4,0.2]}',
    "boolean": b'{"features":[true,3.5,1.4,0.2]}',
    "text": b'{"features":["5.1",3.5,1.4,0.2]}',
    "none": b'{"features":[null,3.5,1.4,0.2]}',
    "nested": b'{"features":[[5.1],3.5,1.4,0.2]}',
    "NaN": b'{"features":[NaN,3.5,1.4,0.2]}',
    "infinity": b'{"features":[-Infinity,3.5,1.4,0.2]}',
    "beyond a double": b'{"features":[1e999,3.5,1.4,0.2]}',
    "beyond float32": b'{"features":[3.5e38,3.5,1.4,0.2]}',
    "leading zero": b'{"features":[05.1,3.5,1.4,0.2]}',
    "too few": b'{"features":[5.1,3.5,1.4]}',
    "too many": b'{"features":[5.1,3.5,1.4,0.2,1]}',
    "both forms": b'{"features":[5.1,3.5,1.4,0.2],"petal_width":0.2}',
    "many rows": b'{"instances":[{"features":[5.1,3.5,1.4,0.2]}]}',
    "not UTF-8": ROW.replace(b"sepal_length", b"sepal\xfflength"),
    "a negative zero": b'{"features":[-0,3.5,-0.0,0.2]}',
    "byte order mark": b"\xef\xbb\xbf" + ROW,
    "large": ROW.ljust(100_000),
}

# Headers by which HTTP gives the request another meaning.
NOT_PLAIN = {
    "another path": request(line="POST /predict/ HTTP/1.1"),
    "a query": request(line="POST /predict?explain=true HTTP/1.1"),
    "another method": request(line="PUT /predict HTTP/1.1"),
    "HTTP/1.0": request(line="POST /predict HTTP/1.0"),
    "two lengths": request(ROW, f"Content-Length: {len(ROW)}"),
    "length with a sign": request(length=f"+{len(ROW)}"),
    "length in another base": request(length=hex(len(ROW))),
    "length with a list": request(length=f"{len(ROW)}, {len(ROW)}"),
    "chunks": request(ROW, "Transfer-Encoding: chunked"),
    "compressed": request(ROW, "Content-Encoding: gzip"),
    "expectation": request(ROW, "Expect: 100-continue"),
    "the connection ends": request(ROW, "Connection: close"),
    "two of one name": request(ROW, "X-Request-ID: other"),
    "no type": request().replace(b"Content-Type", b"Content-Kind"),
    "another type": request().replace(b"application/json", b"text/plain"),
    "no host": request().replace(b"Host:", b"Ghost:"),
    "folded line": request().replace(b"X-Request-ID: same", b"X-Request-ID: same\r\n more"),
    "bare line feed": request(ROW, "X: a\nContent-Length: 3"),
    "control character": request(ROW, "X: a\x00b"),
    "beyond ASCII": request(ROW, "X: \xe9"),
    "space before the colon": request(ROW, "X : y"),
    "no colon": request(ROW, "X"),
    "underscore": request(ROW, "X_Y: z"),
    "a long header": request(ROW, "X: " + "y" * 9000),
    "many fields": request(ROW, *(f"X-{number}: y" for number in range(200))),
    "a second request behind it": request() + request(),
}


@pytest.fixture(scope="module")
def fast_path(client: Any) -> Any:
    return client.application.extensions["fast_path"]


def test_clean_rows_are_answered_as_by_flask(fast_path: Any, client: Any) -> None:
    for name, body in ROWS.items():
        head, answer = fast_path.answer(request(body), "127.0.0.1").split(b"\r\n\r\n")
        slow = client.post("/predict", data=body, content_type="application/json", headers={"X-Request-ID": "same"})
        assert (answer, slow.status_code) == (slow.data, 200), name
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert fields.items() >= {**slow.headers}.items(), name


@pytest.mark.parametrize("body", NOT_CLEAN.values(), ids=NOT_CLEAN)
def test_a_body_without_a_clean_row_is_left_to_flask(fast_path: Any, body: bytes) -> None:
    assert fast_path.answer(request(body), "127.0.0.1") is None


@pytest.mark.parametrize("raw", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_a_request_that_is_not_plain_is_left_to_gunicorn(fast_path: Any, raw: bytes) -> None:
    assert fast_path.answer(raw, "127.0.0.1") is None


def test_a_partial_request_needs_more(fast_path: Any) -> None:
    whole = request()
    first_line = whole.index(b"\n") + 1
    for end in range(first_line, len(whole)):
        assert fast_path.answer(whole[:end], "127.0.0.1") is NEED_MORE, whole[:end]
    assert fast_path.answer(whole, "127.0.0.1")


def test_damaged_rows_get_the_same_answer_on_both_paths(fast_path: Any, client: Any) -> None:
    chance = random.Random(7)
    pieces = [
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"1",
        b"e",
        b"-",
        b".",
        b"true",
        b" ",
        b"\\u0041",
        b"\x00",
        b"9" * 30,
    ]
    taken = 0
    for _ in range(4000):
        body = bytearray(chance.choice([*ROWS.values()]))
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(body))
            body[place : place + chance.randint(0, 2)] = chance.choice(pieces)
        answer = fast_path.answer(request(bytes(body)), "127.0.0.1")
        if isinstance(answer, bytes):
            taken += 1
            slow = client.post(
                "/predict", data=bytes(body), content_type="application/json", headers={"X-Request-ID": "same"}
            )
            assert answer.endswith(b"\r\n\r\n" + slow.data) and slow.status_code == 200, bytes(body)
    # Without answers, nothing was compared.
    assert taken > 50


def test_counts_and_logs_equal_flasks(client: Any, fast_path: Any, log: Any) -> None:
    def counted() -> tuple[float, float]:
        text = client.get("/metrics").text
        requests = re.search(r'duration_seconds_count\{method="POST",route="/predict",status="200"\} (\S+)', text)
        rows = sum(float(value) for value in re.findall(r"rows_predicted_total\{.*\} (\S+)", text))
        return float(requests[1]) if requests else 0.0, rows

    client.post("/predict", data=ROW, content_type="application/json", headers={"X-Request-ID": "slow"})
    before = counted()
    assert fast_path.answer(request().replace(b"same", b"fast"), "192.0.2.7")
    assert counted() == (before[0] + 1, before[1] + 1)
    slow, fast = (
        next(line for line in log.lines("request") if line["request_id"] == request_id)
        for request_id in ("slow", "fast")
    )
    assert list(slow) == list(fast)
    differing = {"time", "duration_ms", "request_id", "client"}
    assert {name for name in slow if slow[name] != fast[name]} <= differing
    assert fast["client"] == "192.0.2.7" and 0 < fast["duration_ms"] < 1000


def test_it_names_the_track_and_is_compared_to_the_champion(make_app: Callable[..., Any], trained_store: Path) -> None:
    app = make_app(trained_store, model_track="challenger", shadow_of=str(trained_store))
    try:
        answer = app.extensions["fast_path"].answer(request(), "127.0.0.1")
        agreed = re.findall(r'shadow_rows_total\{agreed="true"\} (\S+)', app.test_client().get("/metrics").text)
        app.extensions["fast_path"].answer(request(), "127.0.0.1")
        after = re.findall(r'shadow_rows_total\{agreed="true"\} (\S+)', app.test_client().get("/metrics").text)
    finally:
        shadow.init(ApiSettings())
    assert b"\r\nX-Model-Track: challenger\r\n" in answer
    assert float(after[0]) == float(agreed[0]) + 1


def test_without_a_model_flask_answers(make_app: Callable[..., Any], tmp_path: Path) -> None:
    assert make_app(tmp_path / "none").extensions["fast_path"].answer(request(), "127.0.0.1") is None


def test_after_a_failure_flask_answers(
    make_app: Callable[..., Any], trained_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(trained_store)

    def broken(_values: Any) -> None:
        raise RuntimeError

    def in_flight() -> str:
        return re.search(r"^flask_api_predictions_in_flight (.+)$", app.test_client().get("/metrics").text, re.M)[1]

    monkeypatch.setattr(app.extensions["model_holder"].served.artifact.model, "predict_one", broken)
    before = in_flight()
    assert app.extensions["fast_path"].answer(request(), "127.0.0.1") is None
    assert in_flight() == before


def test_the_setting_turns_it_off(make_app: Callable[..., Any], trained_store: Path) -> None:
    assert make_app(trained_store, fast_lane="off").extensions["fast_path"] is None


def test_keys_are_checked(make_app: Callable[..., Any], trained_store: Path, log: Any) -> None:
    digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"  # Of "foo".
    fast_path = make_app(trained_store, api_keys=f"alice:{digest}").extensions["fast_path"]
    for header in ("X-API-Key: foo", "Authorization: Bearer foo", "Authorization: bearer  foo"):
        assert fast_path.answer(request(ROW, header), "127.0.0.1"), header
    assert {line["api_key"] for line in log.lines("request")} == {"alice"}
    for headers in ([], ["X-API-Key: bar"], ["Authorization: Basic foo"], ["X-API-Key:"]):
        assert fast_path.answer(request(ROW, *headers), "127.0.0.1") is None, headers


# Through a real Gunicorn


@pytest.fixture(scope="module")
def both(start_server: Any, trained_store: Path) -> Iterator[tuple[Any, Any]]:
    with (
        start_server(trained_store, web_concurrency=1) as fast,
        start_server(trained_store, web_concurrency=1, fast_lane="off") as slow,
    ):
        yield fast, slow


def exchange(server: Any, raw: bytes) -> bytes:
    """Return all received bytes, without times and generated ids."""
    with server.raw(timeout=20) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(OSError):
            received = b"".join(iter(lambda: connection.recv(65536), b""))
    received = re.sub(rb"Date: [^\r]+", b"Date: now", received)
    return re.sub(rb"[0-9a-f]{32}", b"id", received)


@pytest.mark.parametrize(
    "raw",
    [*(request(body) for body in (ROWS | NOT_CLEAN).values()), *NOT_PLAIN.values()],
    ids=[*(ROWS | NOT_CLEAN), *NOT_PLAIN],
)
def test_both_paths_send_the_same_bytes(both: Any, raw: bytes) -> None:
    fast, slow = (exchange(server, raw) for server in both)
    assert fast == slow
    assert fast.startswith(b"HTTP/1."), fast


def test_a_request_in_pieces_is_answered(both: Any) -> None:
    whole = request()
    for cut in (1, 10, whole.index(b"\r\n\r\n") + 2, len(whole) - len(ROW), len(whole) - 1):
        with both[0].raw() as connection:
            for piece in (whole[:cut], whole[cut:]):
                connection.sendall(piece)
                time.sleep(0.05)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK"), cut


def test_a_body_that_comes_late_is_answered(both: Any) -> None:
    """After the body read timeout."""
    whole = request()
    with both[0].raw() as connection:
        connection.sendall(whole[:-5])
        time.sleep(2.5)
        connection.sendall(whole[-5:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_reads_late_gets_every_answer(both: Any) -> None:
    """It sends rows until the answers do not fit into the socket's buffers."""
    raw, number = request(), 2000
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", both[0].port))
        for _ in range(number):
            connection.sendall(raw)
            time.sleep(0.0005)
        assert both[0].ask("POST", "/predict", json.loads(ROW))[0] == 200
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        connection.settimeout(30)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < number or not received.endswith(b"}"):
            data = connection.recv(1 << 20)
            assert data, f"the end came after {received.count(b'HTTP/1.1 200 OK')} of {number} answers"
            received += data
    assert received.count(b"X-Request-ID: same") == number


def test_rows_need_no_thread(start_server: Any, trained_store: Path) -> None:
    """Otherwise Flask would answer them, and the tests above would compare Flask with itself."""

    def threads() -> int:
        return len(list(Path(f"/proc/{server.workers()[0]}/task").iterdir()))

    with start_server(trained_store, web_concurrency=1) as server:
        before = threads()
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: server.ask("POST", "/predict", json.loads(ROW))[0], range(200))) == {200}
        assert threads() == before


def test_clients_that_do_not_close_do_not_delay_others(both: Any) -> None:
    """More of them than there are threads, each in its lingering close."""
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            connection = stack.enter_context(both[0].raw())
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert both[0].ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("half", [request()[:60], b"GET /health HTTP/1.1\r\nHost: x\r\n", b"PO"])
def test_partial_headers_do_not_delay_others(both: Any, half: bytes) -> None:
    """More of them than there are threads."""
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(both[0].raw()).sendall(half)
        # Longer than the body read timeout, after which a thread gets a request.
        time.sleep(1.2)
        assert both[0].ask("GET", "/health")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [[*["A: "] * 50, "X: \xe9"], ["X:" + " " * 7000 + "\xe9"], ["X:" + " \t" * 3000 + "\xe9"], ["A" * 7000]],
    ids=["empty fields", "blanks", "blanks and tabs", "a long name"],
)
def test_a_hostile_header_is_left_to_gunicorn(fast_path: Any, headers: list[str]) -> None:
    """With a backtracking expression, each would keep the worker busy for minutes."""
    assert fast_path.answer(request(ROW, *headers), "127.0.0.1") is None


def test_empty_fields_are_plain(fast_path: Any) -> None:
    assert fast_path.answer(request(ROW, *(f"X-{number}:  \t " for number in range(40))), "127.0.0.1")


def test_both_paths_take_turns_on_one_connection(both: Any) -> None:
    explain = request(line="POST /predict?explain=true HTTP/1.1")
    with both[0].raw() as connection:
        for raw in (request(), explain, request(), request(b"{}"), request()):
            connection.sendall(raw)
            assert connection.recv(65536).startswith((b"HTTP/1.1 200", b"HTTP/1.1 422"))


def test_workers_share_after_a_reload(start_server: Any, trained_store: Path, eventually: Any) -> None:
    with start_server(trained_store, web_concurrency=2) as server:
        before = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
        eventually(lambda: [line["message"] for line in server.log()].count("model loaded") == 4)
        time.sleep(0.5)
        _check_balance(server)


def test_workers_share_connections_evenly(start_server: Any, trained_store: Path, eventually: Any) -> None:
    with start_server(trained_store, web_concurrency=2) as server:
        eventually(lambda: [line["message"] for line in server.log()].count("model loaded") == 2)
        time.sleep(0.5)
        _check_balance(server)


def _check_balance(server: Any) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(contextlib.closing(server.connect())) for _ in range(16)]
        for connection in connections:
            connection.request("POST", "/predict", ROW, {"Content-Type": "application/json", "X-Request-ID": "share"})
        for connection in connections:
            assert connection.getresponse().read()
        workers = [line["process"] for line in server.log() if line.get("request_id") == "share"]
    assert len(workers) == 16
    assert len(set(workers)) == 2
    assert min(workers.count(pid) for pid in set(workers)) >= 5, workers


def test_connections_beyond_the_limit_are_shed_and_may_return(start_server: Any, trained_store: Path) -> None:
    with start_server(trained_store, web_concurrency=1) as server:
        with contextlib.ExitStack() as stack:
            for _ in range(4096):
                stack.enter_context(server.raw())
            with server.raw() as excess:
                excess.sendall(request())
                answer = b"".join(iter(lambda: excess.recv(65536), b""))
            head, body = answer.split(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n") and b"Retry-After: 1\r\n" in head
            assert b"X-Model-Track: champion\r\n" in head
            assert json.loads(body)["status"] == 503
        assert server.ask("POST", "/predict", json.loads(ROW))[0] == 200
        shed = [line for line in server.log() if line.get("status") == 503]
        assert shed


def test_a_request_that_waits_too_long_for_a_slot_is_shed(start_server: Any, trained_store: Path) -> None:
    """Large bodies, many times as many as there are slots; single rows do not wait for them."""
    # Rows of both forms in one body are decoded through Python objects.
    rows = [ROW, ROWS["by position"]] * 25_000
    body = b'{"instances":[%b]}' % b",".join(rows)
    headers = {"Content-Type": "application/json"}

    def ask() -> tuple[int, str | None, Any]:
        with contextlib.closing(server.connect(timeout=60)) as connection:
            connection.request("POST", "/predict", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers["Retry-After"], json.loads(answer.read())

    with start_server(trained_store, web_concurrency=1, threads=1) as server, ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(ask) for _ in range(100)]
        time.sleep(0.5)
        assert server.ask("POST", "/predict", json.loads(ROW))[0] == 200
        assert not all(future.done() for future in asked)
        answers = [future.result() for future in asked]
        assert {status for status, _, _ in answers} == {200, 503}
        for status, retry_after, document in answers:
            if status == 503:
                assert retry_after == "1" and "try again" in document["detail"]
        shed = [line for line in server.log() if line.get("status") == 503]
        assert len(shed) == sum(status == 503 for status, _, _ in answers)
        assert server.ask("POST", "/predict", json.loads(ROW))[0] == 200
