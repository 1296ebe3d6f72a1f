"""What Nginx does itself: TLS, redirects, headers, request ids, limits, closed paths, its own errors."""

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import warnings
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
MAX_BODY_BYTES = int(os.environ.get("MAX_BODY_BYTES", "4194304"))

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "content-security-policy": "frame-ancestors 'self'",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


def tls_context(target) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=target.ca_cert)
    if not target.ca_cert:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or {"https": 443, "http": 80}[parts.scheme]


def connect(target, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    host, port = address(target.base_url)
    plain = socket.create_connection((host, port), timeout=20)
    try:
        return (context or tls_context(target)).wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def read(connection: socket.socket, method: str = "GET") -> Answer:
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return Answer(response.status, response.getheaders(), response.read())


def send(target, path: str, method: str = "GET", headers: list[tuple[str, str]] = (), body: bytes = b"") -> Answer:
    """Send one request with the path exactly as given: usual clients would normalise it."""
    names = {name.lower() for name, _ in headers}
    lines = [f"{method} {path} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"Host: {urlsplit(target.base_url).netloc}")
    if body and "transfer-encoding" not in names:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers]
    with connect(target) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        # Nginx may answer before the end of the body.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            connection.sendall(body)
        return read(connection, method)


def predict(target, headers: list[tuple[str, str]] = (), body: bytes | None = None) -> Answer:
    return send(
        target,
        "/predict",
        "POST",
        [("Content-Type", "application/json"), *headers],
        json.dumps(ROW).encode() if body is None else body,
    )


def check_problem(answer: Answer, status: int) -> dict:
    """Check that the answer is a problem document with the header's request id."""
    assert answer.status == status
    assert answer.all("content-type") == ["application/problem+json"]
    problem = json.loads(answer.body)
    assert set(problem) == {"type", "title", "status", "detail", "error", "request_id", "errors"}
    assert problem["status"] == status
    assert problem["error"] == problem["detail"]
    assert [problem["request_id"]] == answer.all("x-request-id")
    return problem


# --- TLS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_tls_versions_are_accepted(target, version):
    context = tls_context(target)
    context.minimum_version = context.maximum_version = version
    with connect(target, context) as connection:
        assert connection.version() == version.name.replace("_", ".")


def test_old_tls_is_rejected_by_the_server(target):
    context = tls_context(target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    # Otherwise this machine's OpenSSL would not offer them.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)alert.protocol.version"):
        connect(target, context).close()


def test_weak_ciphers_are_rejected(target):
    context = tls_context(target)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AES+SHA:AES128-SHA:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure"):
        connect(target, context).close()


@pytest.mark.parametrize(("offered", "chosen"), [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")])
def test_http2_is_offered(target, offered, chosen):
    context = tls_context(target)
    context.set_alpn_protocols(offered)
    with connect(target, context) as connection:
        assert connection.selected_alpn_protocol() == chosen


def test_certificate_is_trusted_through_its_authority(target):
    if not target.ca_cert:
        pytest.skip("CA_CERT is not set: name the file of the authority to check the certificate")
    with connect(target) as connection:
        names = {value for _, value in connection.getpeercert()["subjectAltName"]}
    assert {"localhost", "127.0.0.1", "0:0:0:0:0:0:0:1"} <= names


# --- redirects ------------------------------------------------------------------------------------------------


def expected_location(target, path: str) -> str:
    host, port = address(target.base_url)
    return f"https://{host}{'' if port == 443 else f':{port}'}{path}"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_plain_http_is_redirected_and_keeps_method_and_address(target, http, method):
    if not target.http_url:
        pytest.skip("HTTP_URL is not set: name Nginx's address for plain HTTP to test the redirect")
    answer = http.request(method, f"{target.http_url}/predict?a=1%202", allow_redirects=False)
    # 308, unlike 301, forbids turning a POST into a GET.
    assert answer.status_code == 308
    assert answer.headers["Location"] == expected_location(target, "/predict?a=1%202")
    # Browsers would otherwise cache it for ever, for a port that another program may use tomorrow.
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in answer.headers


def test_plain_http_on_the_tls_port_is_redirected(target):
    host, port = address(target.base_url)
    with socket.create_connection((host, port), timeout=20) as connection:
        connection.sendall(f"GET /model HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = read(connection)
    assert answer.status == 308
    assert answer.all("location") == [expected_location(target, "/model")]
    assert answer.all("strict-transport-security") == []


# --- headers --------------------------------------------------------------------------------------------------


def answers(target) -> Iterator[tuple[str, Answer]]:
    """An answer of each origin: the API, its errors, Nginx, its errors, the user interface."""
    yield "api", predict(target)
    yield "api error", predict(target, body=b"{")
    yield "api get", send(target, "/health")
    yield "nginx", send(target, "/nginx-health")
    yield "nginx error", send(target, "/metrics")
    yield "nginx limit", predict(target, body=b" " * (MAX_BODY_BYTES + 1))
    yield "ui page", send(target, "/")
    yield "ui health", send(target, "/_stcore/health")


def test_each_header_comes_exactly_once_on_every_answer(target):
    for origin, answer in answers(target):
        for name, value in SECURITY_HEADERS.items():
            assert answer.all(name) == [value], (origin, name)
        for name in ("strict-transport-security", "permissions-policy", "x-request-id", "server"):
            assert len(answer.all(name)) == 1, (origin, name)
        # Neither a version nor the upstream's name.
        assert answer.all("server") == ["nginx"], origin
        assert answer.all("x-powered-by") == [], origin


@pytest.mark.parametrize(
    ("host", "seconds"),
    [("localhost", 300), ("app.localhost", 300), ("iris.example", 31536000), ("localhost.example", 31536000)],
)
def test_hsts_is_long_but_for_localhost(target, host, seconds):
    answer = send(target, "/nginx-health", headers=[("Host", host)])
    assert answer.all("strict-transport-security") == [f"max-age={seconds}"]


@pytest.mark.parametrize("request_id", ["abc", "A.b_c-9", "x" * 128])
def test_request_id_of_the_client_is_kept(target, request_id):
    answer = predict(target, [("X-Request-ID", request_id)])
    assert answer.status == 200
    assert answer.all("x-request-id") == [request_id]
    assert json.loads(answer.body)["request_id"] == request_id


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Request-ID", "")],
        [("X-Request-ID", "x" * 129)],
        [("X-Request-ID", 'a"b')],
        [("X-Request-ID", "a b")],
        [("X-Request-ID", "a\xe9")],
        [("X-Request-ID", "${jndi:x}")],
    ],
)
def test_request_id_is_made_where_the_clients_is_missing_or_odd(target, headers):
    answer = predict(target, headers)
    assert answer.status == 200
    [request_id] = answer.all("x-request-id")
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    assert json.loads(answer.body)["request_id"] == request_id


def test_request_id_of_the_client_is_in_nginx_own_errors(target):
    answer = send(target, "/metrics", headers=[("X-Request-ID", "mine")])
    assert check_problem(answer, 404)["request_id"] == "mine"


# --- errors of Nginx itself -------------------------------------------------------------------------------------


def test_address_too_long_is_a_json_414(target):
    check_problem(send(target, "/predict?" + "a" * 20000), 414)


def test_headers_too_large_are_a_json_431(target):
    check_problem(send(target, "/predict", headers=[("X-Big", "a" * 20000)]), 431)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /predict HTTP/1.1\r\n\r\n", 400),
        (b"GET /predict HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /predict HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"TRACE /predict HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_malformed_requests_are_answered_in_json(target, head, status):
    with connect(target) as connection:
        connection.sendall(head)
        check_problem(read(connection), status)


# --- body limit -------------------------------------------------------------------------------------------------


def body_of(size: int) -> bytes:
    return json.dumps(ROW).encode().ljust(size)


def chunked(body: bytes) -> bytes:
    parts = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("coding", ["length", "chunked"])
@pytest.mark.parametrize(("excess", "status"), [(-1, 200), (0, 200), (1, 413)])
def test_body_limit_is_exact(target, coding, excess, status):
    body = body_of(MAX_BODY_BYTES + excess)
    if coding == "chunked":
        answer = predict(target, [("Transfer-Encoding", "chunked")], chunked(body))
    else:
        answer = predict(target, body=body)
    if status == 413:
        assert str(MAX_BODY_BYTES) in check_problem(answer, 413)["detail"]
    else:
        assert answer.status == status, answer.body


@pytest.mark.parametrize(("excess", "status"), [(0, 200), (1, 413)])
def test_body_limit_is_that_of_the_api(target, http, excess, status):
    if not target.api_url:
        pytest.skip("API_URL is not set: name the API's own address to compare the limits")
    body = body_of(MAX_BODY_BYTES + excess)
    answer = http.post(f"{target.api_url}/predict", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status


# --- closed paths -----------------------------------------------------------------------------------------------

CLOSED = """
    /metrics /metrics/ /METRICS /Metrics /metrics?x=1 /metrics/x /metrics;x /metrics%20 /metrics%2f /metrics%3fx
    //metrics ///metrics /./metrics /%2fmetrics /%6detrics /%6Detrics /x/../metrics
    /predict/../metrics /v2/../metrics /v2/models/../../metrics /predict/%2e%2e/metrics /predict/..%2fmetrics
    /_stcore/metrics /_stcore/metrics/ /_stcore//metrics /_stcore/./metrics /_STCORE/metrics /x/_stcore/metrics
    /%5fstcore/metrics /_stcore/metrics?x=1 /_stcore/health/../metrics //_stcore/metrics /_stcore%2fmetrics
""".split()

# Odd spellings that Nginx does not normalise to the path; no answer may contain metrics.
ODD = """
    /metrics/../predict /metrics/..;/predict /;/metrics /predict/..;/metrics /v2/..;/metrics /predict;/../metrics
    /%256detrics /predict%2f..%2f..%2fmetrics /metrics%2f..%2fpredict /predict/..\\metrics /metrics#/../predict
    /predict#/../metrics /v2/%252e%252e/metrics /_stcore/metrics%2f..%2fhealth /_stcore/health/..;/metrics
    /metrics%0a /metrics%09
""".split()


@pytest.mark.parametrize("path", CLOSED)
def test_metrics_are_closed(target, path):
    check_problem(send(target, path), 404)


@pytest.mark.parametrize("path", ODD)
def test_odd_spellings_do_not_reach_metrics(target, path):
    answer = send(target, path)
    assert not re.search(rb"(?m)^# (HELP|TYPE|UNIT|EOF)", answer.body)


def test_metrics_are_closed_in_absolute_form(target):
    check_problem(send(target, f"{target.base_url}/metrics"), 404)


# --- user interface ---------------------------------------------------------------------------------------------


def test_page_is_served(http, target):
    answer = http.get(f"{target.base_url}/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert '<div id="root"' in answer.text


def test_api_paths_end_where_their_segment_ends(target):
    """The user interface answers /models, and the API rejects /model/."""
    assert send(target, "/models").all("content-type") == ["text/html; charset=utf-8"]
    check_problem(send(target, "/model/"), 404)
    check_problem(send(target, "/predict/x"), 404)
