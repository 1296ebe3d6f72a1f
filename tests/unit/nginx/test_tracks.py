"""A canary's share, a shadow's copies, reloads, and an edge in front: a real Nginx with stub upstreams."""

import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.unit.nginx.answers import header
from tests.unit.nginx.conftest import NGINX_DIR, PATH, Upstream, free_port

PREDICTIONS = ["/predict", "/explain", "/v2/models/iris/infer"]
JSON = (("Content-Type", "application/json"),)


@pytest.fixture
def challenger() -> Iterator[Upstream]:
    upstream = Upstream()
    upstream.answer = lambda _: (200, {"X-Model-Track": "challenger"}, b"challenger")
    yield upstream
    upstream.stop()


def keepalive(edge) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("localhost", edge.https_port, context=edge.context, timeout=20)


def post(connection: http.client.HTTPConnection, path: str = "/predict", body: bytes = b"{}", **headers: str):
    connection.request("POST", path, body, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    answer.content = answer.read()
    return answer


# --- canary ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolve", ["off", "on"])
def test_the_share_is_kept(start, challenger, resolve):
    edge = start(CANARY_PERCENT=25, CANARY_UPSTREAM=f"127.0.0.1:{challenger.port}", UPSTREAM_RESOLVE=resolve)
    connection = keepalive(edge)
    # The client always sends the same id, which must not choose the track.
    answers = Counter(post(connection, **{"X-Request-ID": "same"}).content for _ in range(2000))
    connection.close()
    assert abs(answers[b"challenger"] / 2000 - 0.25) < 0.05
    assert answers.total() == 2000


@pytest.mark.parametrize("percent", [0, 100])
def test_shares_of_0_and_100_percent(start, challenger, percent):
    edge = start(CANARY_PERCENT=percent, CANARY_UPSTREAM=f"127.0.0.1:{challenger.port}")
    wanted = {0: b"stub", 100: b"challenger"}[percent]
    for path in PREDICTIONS:
        assert edge.send(path, "POST", JSON, b"{}").content == wanted
    # The champion answers files.
    assert edge.send("/predict", "POST", (("Content-Type", "text/csv"),), b"a\n1\n").content == b"stub"


def test_only_predictions_go_to_the_challenger(start, challenger):
    edge = start(CANARY_PERCENT=100, CANARY_UPSTREAM=f"127.0.0.1:{challenger.port}")
    for path in ("/model", "/ready", "/docs", "/openapi.json", "/v2/models/iris", "/predict"):
        assert edge.send(path).content == b"stub"
    # Clients that name a version use the champion's.
    assert edge.send("/v2/models/iris/versions/1/infer", "POST", JSON, b"{}").content == b"stub"


@pytest.mark.parametrize("resolve", ["off", "on"])
def test_an_unreachable_challenger_costs_no_request(start, challenger, resolve):
    edge = start(CANARY_PERCENT=100, CANARY_UPSTREAM=f"127.0.0.1:{challenger.port}", UPSTREAM_RESOLVE=resolve)
    challenger.answer = lambda _: None
    assert edge.send("/predict", "POST", JSON, b"{}").content == b"stub"
    challenger.stop()
    for _ in range(5):
        assert edge.send("/predict", "POST", JSON, b"{}").content == b"stub"


def test_a_challenger_whose_address_is_gone_costs_no_request(start):
    with contextlib.ExitStack() as stack:
        # A full backlog neither accepts nor refuses a connection, like an unused address.
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        edge = start(CANARY_PERCENT=100, CANARY_UPSTREAM=f"127.0.0.1:{full.getsockname()[1]}")
        began = time.monotonic()
        answer = edge.send("/predict", "POST", JSON, b"{}")
        assert (answer.status, answer.content) == (200, b"stub")
        assert 1 <= time.monotonic() - began < 15


def test_the_track_is_logged(start, challenger):
    edge = start(CANARY_PERCENT=100, CANARY_UPSTREAM=f"127.0.0.1:{challenger.port}")
    assert edge.send("/predict", "POST", JSON, b"{}").headers["X-Model-Track"] == "challenger"
    [line] = [json.loads(line) for line in edge.stop()]
    assert line["track"] == "challenger"


def test_the_challenger_is_switched_off_without_a_reload(start, challenger):
    edge = start(CANARY_PERCENT=100, CANARY_UPSTREAM=f"127.0.0.1:{challenger.port}")
    connection = keepalive(edge)
    assert post(connection).content == b"challenger"
    kept = connection.sock
    (edge.run_dir / "canary-off").touch()
    assert post(connection).content == b"stub"
    assert connection.sock is kept
    connection.close()


# --- shadow ------------------------------------------------------------------------------------------------------


def eventually(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("resolve", ["off", "on"])
def test_the_shadow_gets_the_same_request_and_the_client_the_champions_answer(start, challenger, resolve):
    edge = start(SHADOW_UPSTREAM=f"127.0.0.1:{challenger.port}", UPSTREAM_RESOLVE=resolve)
    challenger.answer = lambda _: (500, {"X-Model-Track": "shadow"}, b"shadow")
    large = b'{"instances":[' + b"[1,2,3,4]," * 20_000 + b"[1,2,3,4]]}"
    for path, body in [("/predict?explain=true", b"{}"), ("/v2/models/iris/infer", b"[1]"), ("/explain", large)]:
        answer = edge.send(path, "POST", (*JSON, ("X-Request-ID", "abc"), ("X-API-Key", "k")), body)
        assert (answer.status, answer.content) == (200, b"stub")
        assert "X-Model-Track" not in answer.headers
        eventually(lambda body=body: body in [received.body for received in challenger.received])
        copy, original = challenger.received[-1], edge.api.received[-1]
        assert (copy.method, copy.path) == (original.method, original.path) == ("POST", path)
        for name in ("x-request-id", "x-api-key", "host", "x-forwarded-for", "x-forwarded-proto", "content-type"):
            assert header(copy, name) == header(original, name) is not None, name
        assert header(original, "x-forwarded-for") == "127.0.0.1"
        assert header(original, "x-forwarded-proto") == "https"


def test_only_predictions_are_copied(start, challenger):
    edge = start(SHADOW_UPSTREAM=f"127.0.0.1:{challenger.port}")
    for path in ("/model", "/ready", "/predict", "/v2/models/iris"):
        edge.send(path)
    edge.send("/predict", "POST", (("Content-Type", "text/csv"),), b"a\n1\n")
    edge.send("/predict", "POST", JSON, b"{}")
    eventually(lambda: challenger.received)
    time.sleep(0.2)
    assert [received.path for received in challenger.received] == ["/predict"]
    assert len(edge.api.received) == 6


def hanging() -> tuple[socket.socket, int]:
    """Accept connections and never answer."""
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)
    return server, server.getsockname()[1]


def test_a_shadow_that_hangs_delays_no_client(start):
    """Not even the next request on the same connection, which a bare `mirror` would hold back; nor above the bound."""
    server, port = hanging()
    edge = start(SHADOW_UPSTREAM=f"127.0.0.1:{port}")
    connection = keepalive(edge)
    times = []
    for _ in range(300):
        began = time.perf_counter()
        assert post(connection).content == b"stub"
        times.append(time.perf_counter() - began)
    connection.close()
    server.close()
    assert len(edge.api.received) == 300
    assert statistics.median(times) < 0.05
    assert max(times) < 0.4


@pytest.mark.parametrize("resolve", ["off", "on"])
def test_an_unreachable_shadow_costs_no_request(start, resolve):
    edge = start(SHADOW_UPSTREAM=f"127.0.0.1:{free_port()}", UPSTREAM_RESOLVE=resolve)
    for _ in range(20):
        assert edge.send("/predict", "POST", JSON, b"{}").content == b"stub"


def test_a_slow_shadow_still_gets_the_whole_request(start, challenger):
    edge = start(SHADOW_UPSTREAM=f"127.0.0.1:{challenger.port}")
    finished, clients_served = [], threading.Event()

    def slow(received):
        assert clients_served.wait(30)
        finished.append(received)
        return 200, {}, b"shadow"

    challenger.answer = slow
    for _ in range(5):
        assert edge.send("/predict", "POST", JSON, b"{}").content == b"stub"
    assert not finished
    clients_served.set()
    eventually(lambda: len(finished) == 5)


def test_with_a_shadow_requests_are_retried_and_errors_are_the_same(start, challenger):
    edge = start(SHADOW_UPSTREAM=f"127.0.0.1:{challenger.port}")
    cut = iter([None, None])
    edge.api.answer = lambda _: next(cut, (200, {}, b"fine"))
    assert edge.send("/predict", "POST", JSON, b"{}").content == b"fine"
    edge.api.answer = lambda _: (422, {"Content-Type": "application/problem+json"}, b'{"status":422}')
    answer = edge.send("/predict", "POST", JSON, b"{}")
    assert (answer.status, answer.content) == (422, b'{"status":422}')
    edge.api.answer = lambda _: None
    answer = edge.send("/predict", "POST", JSON, b"{}")
    assert answer.status == 502
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_canary_and_shadow_together(start, challenger):
    shadow = Upstream()
    edge = start(
        CANARY_PERCENT=50, CANARY_UPSTREAM=f"127.0.0.1:{challenger.port}", SHADOW_UPSTREAM=f"127.0.0.1:{shadow.port}"
    )
    connection = keepalive(edge)
    answers = Counter(post(connection).content for _ in range(200))
    connection.close()
    # Only the champion's requests are copied.
    assert answers == {b"stub": len(edge.api.received), b"challenger": len(challenger.received)}
    eventually(lambda: len(shadow.received) == answers[b"stub"])
    shadow.stop()


# --- reload, drain, edge -----------------------------------------------------------------------------------------


def test_a_draining_nginx_closes_connections_after_its_answers(start, challenger):
    edge = start(CANARY_PERCENT=100, CANARY_UPSTREAM=f"127.0.0.1:{challenger.port}", MAX_BODY_BYTES=10)
    connection = keepalive(edge)
    assert "close" not in (post(connection).headers.get("Connection") or "")
    (edge.run_dir / "draining").touch()
    answer = post(connection, "/predict?explain=true")
    assert (answer.status, answer.content) == (200, b"challenger")
    assert answer.headers.get_all("Connection") == ["close"]
    assert connection.sock is None
    for path in ("/model%2F?a=b%20c", "/", "/_stcore/x%41?q", "/v2//models"):
        edge.send(path)
    assert [received.path for received in edge.api.received + edge.ui.received] == [
        "/model%2F?a=b%20c",
        "/v2//models",
        "/",
        "/_stcore/x%41?q",
    ]
    assert edge.send("/metrics").status == 404
    # Files have their own limit, other bodies the small one.
    assert edge.send("/predict", "POST", (("Content-Type", "text/csv"),), b"a\n1\n" * 10).status == 200
    assert edge.send("/predict", "POST", JSON, b"{}" * 10).status == 413
    (edge.run_dir / "draining").unlink()
    assert edge.send("/__drain").status == 404
    assert "close" not in (post(connection).headers.get("Connection") or "")
    connection.close()


def test_reload_applies_another_share(start, certs, challenger):
    edge = start(CANARY_UPSTREAM=f"127.0.0.1:{challenger.port}")
    command = {
        "PATH": PATH,
        "CERT_DIR": str(certs),
        "RUN_DIR": str(edge.run_dir),
        "BIND_ADDRESS": "127.0.0.1",
        "HTTPS_PORT": str(edge.https_port),
        "HTTP_PORT": str(edge.http_port),
        "API_UPSTREAM": f"127.0.0.1:{edge.api.port}",
        "UI_UPSTREAM": f"127.0.0.1:{edge.ui.port}",
        "CANARY_UPSTREAM": f"127.0.0.1:{challenger.port}",
        "NGINX_WORKERS": "1",
    }

    def reload(*percent: str) -> None:
        subprocess.run(["sh", NGINX_DIR / "reload.sh", *percent], env=command, check=True)

    def answers() -> bytes:
        # An old Nginx may close the connection that the old worker just took.
        with contextlib.suppress(OSError):
            return edge.send("/predict", "POST", JSON, b"{}").content
        return b""

    def all_answers() -> set[bytes]:
        return {answers() for _ in range(20)}

    assert answers() == b"stub"
    reload("100")
    # The old worker accepts connections until it gets its signal, so one answer of the new one is not enough.
    eventually(lambda: all_answers() == {b"challenger"})
    # Another reload, such as for a new certificate, keeps the share.
    reload()
    time.sleep(0.5)
    assert all_answers() == {b"challenger"}
    reload("0")
    eventually(lambda: all_answers() == {b"stub"})
    failed = subprocess.run(
        ["sh", NGINX_DIR / "reload.sh", "101"], env=command, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert "CANARY_PERCENT is '101', but must be a whole number from 0 to 100." in failed.stderr
    assert all_answers() == {b"stub"}


def test_a_renewed_certificate_is_loaded(start, certs, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("tls.crt", "tls.key"):
        (folder / name).write_bytes((certs / name).read_bytes())
    edge = start(CERT_DIR=folder)
    settings = {
        "PATH": PATH,
        "CERT_DIR": str(folder),
        "RUN_DIR": str(edge.run_dir),
        "BIND_ADDRESS": "127.0.0.1",
        "HTTPS_PORT": str(edge.https_port),
        "HTTP_PORT": str(edge.http_port),
        "API_UPSTREAM": f"127.0.0.1:{edge.api.port}",
        "UI_UPSTREAM": f"127.0.0.1:{edge.ui.port}",
        "CERT_WATCH_SECONDS": "1",
    }
    watcher = subprocess.Popen(["sh", NGINX_DIR / "watch-certs.sh"], env=settings, start_new_session=True)
    try:

        def served() -> bytes:
            with (
                socket.create_connection(("127.0.0.1", edge.https_port), timeout=5) as plain,
                edge.context.wrap_socket(plain, server_hostname="localhost") as tls,
            ):
                return tls.getpeercert(binary_form=True)

        before = served()
        other = tmp_path / "other"
        other.mkdir()
        # The same authority, so that the client still trusts it.
        for name in ("ca.crt", "ca.key"):
            (other / name).write_bytes((certs / name).read_bytes())
        subprocess.run(["sh", NGINX_DIR / "make-certs.sh", other, "another.example"], check=True, capture_output=True)
        for name in ("tls.crt", "tls.key"):
            (folder / name).write_bytes((other / name).read_bytes())
        eventually(lambda: served() != before)
    finally:
        os.killpg(watcher.pid, 15)
        watcher.wait(10)


def test_behind_an_edge(start):
    port = free_port()
    edge = start(EDGE_PORT=port, TRUSTED_PROXIES="127.0.0.0/8")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    answer = post(connection, **{"X-Forwarded-For": "203.0.113.7", "Host": "iris.example.com"})
    assert (answer.status, answer.content) == (200, b"stub")
    # The edge handles browsers and TLS.
    assert "Strict-Transport-Security" not in answer.headers
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"stub"
    connection.close()
    received = edge.api.received[-1]
    assert header(received, "x-forwarded-for") == "203.0.113.7"
    assert header(received, "x-forwarded-proto") == "https"
    assert header(received, "host") == "iris.example.com"


def test_an_unknown_proxy_is_not_trusted(start):
    edge = start()
    edge.send("/predict", "POST", (*JSON, ("X-Forwarded-For", "203.0.113.7")), b"{}")
    assert header(edge.api.received[-1], "x-forwarded-for") == "127.0.0.1"
