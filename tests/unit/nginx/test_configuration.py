"""Routing, request headers, errors and the log; stubs replace the API and the UI."""

import http.client
import itertools
import json
import re
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest

from tests.unit.nginx.answers import check_problem, header


def names(received) -> Counter:
    return Counter(name.lower() for name, _ in received.headers)


# --- request headers for the upstreams ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/predict", "/"])
def test_clients_claims_about_itself_are_not_passed_on(start, path):
    edge = start()
    spoofed = (
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Real-IP",
        "Forwarded",
    )
    edge.send(path, headers=(*((name, "evil") for name in spoofed), ("X-Forwarded-Proto", "http")))
    [received] = edge.api.received or edge.ui.received
    assert header(received, "x-forwarded-for") == "127.0.0.1"
    assert header(received, "x-forwarded-proto") == "https"
    assert header(received, "x-forwarded-host") == f"localhost:{edge.https_port}"
    assert header(received, "host") == f"localhost:{edge.https_port}"
    for name in ("x-forwarded-port", "x-forwarded-prefix", "x-real-ip", "forwarded", "connection", "upgrade"):
        assert names(received)[name] == 0, name
    assert max(names(received).values()) == 1


def test_request_id_reaches_the_upstream_and_its_own_is_hidden(start):
    edge = start()
    edge.api.answer = lambda _: (200, {"X-Request-ID": "of-the-upstream", "X-Frame-Options": "DENY"}, b"")
    answer = edge.send("/predict", headers=(("X-Request-ID", "mine"),))
    assert header(edge.api.received[0], "x-request-id") == "mine"
    assert answer.headers.get_all("X-Request-ID") == ["mine"]
    assert answer.headers.get_all("X-Frame-Options") == ["SAMEORIGIN"]


def test_http_1_0_without_host_still_reaches_the_upstream(start):
    edge = start()
    with edge.context.wrap_socket(
        socket.create_connection(("127.0.0.1", edge.https_port)), server_hostname="localhost"
    ) as client:
        client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        response = http.client.HTTPResponse(client)
        response.begin()
        assert response.status == 200
    assert header(edge.api.received[0], "host") == "localhost"


@pytest.mark.parametrize("path", ["/predict?a=%20b&c=%2F", "/v2/models/a%2Fb", "/docs/a//b", "/v2/%0d%0aX-Evil:%201"])
def test_address_is_passed_on_as_written(start, path):
    edge = start()
    edge.send(path)
    assert [received.path for received in edge.api.received] == [path]
    assert names(edge.api.received[0])["x-evil"] == 0


API = (
    "/predict /explain /model /health /ready /docs /docs/ /docs/x.css /openapi.json /v2 /v2/ /v2/models/a/infer".split()
)
UI = "/ /predictx /models /healthz /openapi_json /v20 /Predict /static/js/a.js /_stcore/health /_stcore/upload".split()


def test_first_segment_decides_the_upstream(start):
    edge = start()
    for path in (*API, *UI):
        assert edge.send(path).status == 200
    assert [received.path for received in edge.api.received] == API
    assert [received.path for received in edge.ui.received] == UI


def test_websocket_headers_are_passed_on_its_own_path_only(start):
    edge = start()
    upgrade = (("Upgrade", "websocket"), ("Connection", "Upgrade"))
    for path in ("/_stcore/stream", "/_stcore/health", "/predict"):
        edge.send(path, headers=upgrade)
    stream, health = edge.ui.received
    assert (header(stream, "upgrade"), header(stream, "connection")) == ("websocket", "upgrade")
    for received in (health, edge.api.received[0]):
        assert (names(received)["upgrade"], names(received)["connection"]) == (0, 0)


WEBSOCKET = (("Upgrade", "websocket"), ("Connection", "Upgrade"))


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("https://localhost:{port}", 200),
        ("HTTPS://LocalHost:{port}", 200),
        ("https://localhost", 403),
        ("https://localhost:1", 403),
        ("https://localhost:{port}.evil.example", 403),
        ("https://evil.example", 403),
        ("https://evil.example|localhost:{port}", 403),
        ("https://xlocalhost:{port}", 403),
        ("https://127.0.0.1:{port}", 403),
        ("null", 403),
        ("file://", 403),
    ],
)
def test_websocket_of_a_foreign_page_never_reaches_streamlit(start, origin, status):
    edge = start()
    sent = () if origin is None else (("Origin", origin.format(port=edge.https_port)),)
    assert edge.send("/_stcore/stream", headers=(*WEBSOCKET, *sent)).status == status
    assert len(edge.ui.received) == (status == 200)


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("https://iris.example", "iris.example", 200),
        ("https://iris.example", "iris.example:443", 200),
        ("https://iris.example:443", "iris.example", 200),
        ("https://iris.example", "iris.example:8443", 403),
        ("https://xiris.example", "iris.example", 403),
        ("https://iris-example", "iris.example", 403),
        ("https://[::1]:8443", "[::1]:8443", 200),
    ],
)
def test_websocket_origin_is_compared_with_the_host_as_the_client_names_it(start, origin, host, status):
    edge = start()
    with edge.context.wrap_socket(
        socket.create_connection(("127.0.0.1", edge.https_port)), server_hostname="localhost"
    ) as client:
        head = f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode())
        response = http.client.HTTPResponse(client)
        response.begin()
        assert response.status == status


# --- metrics -----------------------------------------------------------------------------------------------------

PIECES = [
    "/",
    "//",
    "/.",
    "/..",
    "/..;",
    "%2f",
    "%2e%2e",
    "/metrics",
    "/Metrics",
    "%6detrics",
    "/_stcore",
    "/predict",
    ";x",
]


def test_no_spelling_of_metrics_reaches_an_upstream(start):
    """Of all paths with up to three parts, none that an upstream could take for /metrics is forwarded."""
    edge = start()
    connection = http.client.HTTPSConnection("localhost", edge.https_port, context=edge.context, timeout=20)
    for count in (1, 2, 3):
        for pieces in itertools.product(PIECES, repeat=count):
            path = "".join(pieces)
            if path.startswith("/"):
                connection.putrequest("GET", path)
                connection.endheaders()
                connection.getresponse().read()
    connection.close()
    assert len(edge.api.received) > 100
    assert len(edge.ui.received) > 100
    # Both upstreams decode a path once and resolve no dot segments; the API could merge slashes.
    for received in edge.api.received:
        assert re.sub("/+", "/", unquote(received.path)).rstrip("/").lower() != "/metrics", received.path
    for received in edge.ui.received:
        assert not unquote(received.path).rstrip("/").endswith("/_stcore/metrics"), received.path


# --- failing upstreams ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolve", ["off", "on"])
def test_cut_connection_is_tried_again_with_the_body(start, resolve):
    edge = start(UPSTREAM_RESOLVE=resolve)
    edge.api.answer = lambda _: None if len(edge.api.received) == 1 else (200, {}, b"fine")
    # Large enough to be spooled to a file in between.
    body = bytes(range(256)) * 2000
    answer = edge.send("/predict", "POST", body=body)
    assert (answer.status, answer.content) == (200, b"fine")
    assert [(received.method, received.body) for received in edge.api.received] == [("POST", body)] * 2


def test_a_worker_that_dies_with_all_kept_connections_fails_no_request(start):
    """A killed worker cuts every connection that Nginx keeps to it, at the same moment."""
    edge = start()
    together = threading.Barrier(12)

    def wait(_):
        together.wait(20)
        return 200, {}, b""

    edge.api.answer = wait
    with ThreadPoolExecutor(12) as pool:
        assert {answer.status for answer in pool.map(edge.send, ["/predict"] * 12)} == {200}
    kept = {received.port for received in edge.api.received}
    assert len(kept) == 12
    edge.api.answer = lambda received: None if received.port in kept else (200, {}, b"fine")
    answer = edge.send("/predict", "POST", body=b"{}")
    assert (answer.status, answer.content) == (200, b"fine")
    # At most four of these attempts failed.
    assert len(edge.api.received) <= 12 + 5


@pytest.mark.parametrize("resolve", ["off", "on"])
def test_dead_api_is_a_json_502_after_a_limited_number_of_tries(start, resolve):
    edge = start(UPSTREAM_RESOLVE=resolve)
    edge.api.answer = lambda _: None
    check_problem(edge.send("/predict", "POST", body=b"{}"), 502)
    assert 2 <= len(edge.api.received) <= 12
    edge.api.stop()
    check_problem(edge.send("/predict", "POST", body=b"{}"), 502)


def test_errors_of_the_api_pass_untouched(start):
    edge = start()
    for status in (400, 404, 413, 422, 429, 500, 502, 503, 504):
        edge.api.answer = lambda _, status=status: (status, {"Content-Type": "application/json"}, b'{"mine":1}')
        answer = edge.send("/predict", "POST", body=b"{}")
        assert (answer.status, answer.headers["Content-Type"], answer.content) == (
            status,
            "application/json",
            b'{"mine":1}',
        )
    # Errors are answers, not cut connections, so none was tried again.
    assert len(edge.api.received) == 9


@pytest.mark.parametrize(
    ("status", "headers", "expected"), [(503, {}, ["5"]), (503, {"Retry-After": "7"}, ["7"]), (200, {}, None)]
)
def test_retry_after_comes_once(start, status, headers, expected):
    edge = start()
    edge.api.answer = lambda _: (status, headers, b"")
    assert edge.send("/predict").headers.get_all("Retry-After") == expected


@pytest.mark.parametrize("resolve", ["off", "on"])
def test_dead_interface_is_a_page_that_retries(start, resolve):
    edge = start(UPSTREAM_RESOLVE=resolve)
    edge.ui.stop()
    answer = edge.send("/some/page")
    assert answer.status == 502
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"The user interface is starting or unavailable. This page reloads by itself." in answer.content
    assert b'http-equiv="refresh"' in answer.content
    assert len(answer.headers.get_all("X-Frame-Options")) == 1
    # The API still answers.
    assert edge.send("/predict").status == 200


def test_silent_client_is_disconnected(start):
    edge = start()
    with socket.create_connection(("127.0.0.1", edge.http_port), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow:")
        began = time.monotonic()
        assert client.recv(1) == b""
        assert 8 < time.monotonic() - began < 19


# --- log -------------------------------------------------------------------------------------------------------------


def test_log_is_json_whatever_the_client_sends(start):
    edge = start()
    edge.send('/predict?a="\\', "POST", (("User-Agent", 'a"b\\c'), ("X-Request-ID", "mine")), b"{}")
    edge.send("/metrics")
    with socket.create_connection(("127.0.0.1", edge.https_port)) as client:
        client.sendall(b"\x00\xff\r\n\r\n")
        client.recv(1000)
    lines = [json.loads(line) for line in edge.stop()]
    assert [line["status"] for line in lines] == [200, 404, 400]
    first = lines[0]
    assert first["uri"] == '/predict?a="\\'
    assert first["user_agent"] == 'a"b\\c'
    assert first["request_id"] == "mine"
    assert first["method"] == "POST"
    assert first["upstream_addr"] == f"127.0.0.1:{edge.api.port}"
    assert first["upstream_status"] == "200"
    assert first["client"] == "127.0.0.1"
    assert first["tls"].startswith("TLSv1.")
    assert re.fullmatch(r"[0-9.]+", first["upstream_response_time"])
    assert isinstance(first["request_time"], float)
    assert first["bytes"] > 0


def test_probes_are_logged_only_when_they_fail(start):
    edge = start()
    for path in ("/health", "/ready", "/nginx-health", "/_stcore/health", "/v2/health/live"):
        assert edge.send(path).status == 200
    edge.api.answer = lambda _: None
    assert edge.send("/ready").status == 502
    assert [(json.loads(line)["uri"], json.loads(line)["status"]) for line in edge.stop()] == [("/ready", 502)]


# --- files -----------------------------------------------------------------------------------------------------------


def test_everything_it_writes_is_in_its_folder(start):
    edge = start()
    edge.send("/predict", "POST", body=b" " * 500_000)
    assert sorted(path.name for path in edge.run_dir.iterdir()) == [
        "body",
        "conf.d",
        "nginx.conf",
        "nginx.pid",
        "proxy",
        "unused",
    ]
