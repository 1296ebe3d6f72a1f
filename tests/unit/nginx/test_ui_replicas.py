"""Routing of pages, uploads and sessions to the replicas of the interface, which are stubs."""

import re
import signal
import socket
import time

import pytest

from tests.unit.nginx.answers import check_problem
from tests.unit.nginx.conftest import Upstream

UPLOAD = "/_stcore/upload_file/session/file"
MEGABYTE = 1024 * 1024


def test_upload_at_the_limit_passes_and_one_byte_above_is_a_sentence(start):
    edge = start(STREAMLIT_SERVER_MAX_UPLOAD_SIZE=1, MAX_BODY_BYTES=1000)
    assert edge.send(UPLOAD, "PUT", body=bytes(MEGABYTE)).status == 200
    assert [len(received.body) for received in edge.ui.received] == [MEGABYTE]
    rejected = edge.send(UPLOAD, "PUT", body=bytes(MEGABYTE + 1))
    check_problem(rejected, 413)
    assert f"larger than {MEGABYTE} bytes" in rejected.content.decode()
    assert len(edge.ui.received) == 1


def test_streamlits_own_413_becomes_a_sentence(start):
    edge = start(STREAMLIT_SERVER_MAX_UPLOAD_SIZE=1)
    edge.ui.answer = lambda _: (413, {"Content-Type": "text/plain"}, b"File too large")
    check_problem(edge.send(UPLOAD, "PUT", body=bytes(10)), 413)


def test_other_bodies_keep_their_own_limit(start):
    edge = start(MAX_BODY_BYTES=1000, STREAMLIT_SERVER_MAX_UPLOAD_SIZE=1)
    for path in ("/_stcore/upload_filex", "/batch", "/predict"):
        assert edge.send(path, "POST", body=bytes(1001)).status == 413
    assert "larger than 1000 bytes" in edge.send("/predict", "POST", body=bytes(1001)).content.decode()
    assert edge.ui.received == edge.api.received == []


@pytest.mark.parametrize("size", ["0", "-1", "1.5", "big"])
def test_bad_size_is_rejected_by_name(render, size):
    done = render(STREAMLIT_SERVER_MAX_UPLOAD_SIZE=size)
    assert done.returncode != 0
    assert "STREAMLIT_SERVER_MAX_UPLOAD_SIZE" in done.stderr


def test_a_visitor_gets_a_cookie_with_the_first_page_only(start):
    edge = start()
    (cookie,) = edge.send("/").headers.get_all("Set-Cookie")
    assert re.fullmatch(r"ui_visitor=[0-9a-f]{32}; Path=/; Secure; HttpOnly; SameSite=Lax", cookie)
    again = edge.send("/batch", headers=(("Cookie", cookie.split(";")[0]),))
    assert again.headers.get_all("Set-Cookie") is None
    assert edge.send("/batch").headers.get_all("Set-Cookie") is not None
    for path in ("/predict", "/health", "/model", "/docs", "/static/js/a.js", "/_stcore/health", "/nginx-health"):
        assert edge.send(path).headers.get_all("Set-Cookie") is None, path


def test_every_request_of_a_visitor_reaches_one_replica(start):
    """As with `--scale streamlit-ui=2`: each cookie has one of the two servers, and both have visitors."""
    second = Upstream()
    edge = start()
    conf = edge.run_dir / "conf.d/ui-group.http.conf"
    text = conf.read_text()
    only = f"server 127.0.0.1:{edge.ui.port};"
    assert only in text
    conf.write_text(text.replace(only, f"{only} server 127.0.0.1:{second.port};"))
    edge.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while not second.received:
        assert time.monotonic() < deadline, "the second replica got no visitor"
        edge.send("/", headers=(("Cookie", f"ui_visitor={time.monotonic_ns():032x}"),))
    # Workers of the old configuration may accept a last connection.
    time.sleep(1)
    served = {}
    for number in range(16):
        cookie = (("Cookie", f"ui_visitor={number:032x}"),)
        before = len(edge.ui.received), len(second.received)
        for path in ("/", "/_stcore/stream", UPLOAD, "/media/abc"):
            assert edge.send(path, headers=cookie).status == 200
        served[number] = len(edge.ui.received) - before[0], len(second.received) - before[1]
    assert set(served.values()) == {(4, 0), (0, 4)}
    second.stop()


def test_unknown_hosts_get_a_sentence_and_no_session(start):
    edge = start(STREAMLIT_SERVER_ALLOWED_HOSTS="localhost 127.0.0.1 ::1 *.iris.example")
    assert edge.send("/").status == 200
    for host, known in (("evil.example", False), ("a.iris.example", True), ("[::1]:8443", True), ("127.0.0.1", True)):
        with edge.context.wrap_socket(
            socket.create_connection(("127.0.0.1", edge.https_port)), server_hostname="localhost"
        ) as client:
            client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        assert ("Unknown host name" in answer) != known, host
        assert answer.startswith("HTTP/1.1 200" if known else "HTTP/1.1 421")
    assert len(edge.ui.received) == 4


def test_bad_host_is_rejected_by_name(render):
    done = render(STREAMLIT_SERVER_ALLOWED_HOSTS="localhost; evil")
    assert done.returncode != 0
    assert "STREAMLIT_SERVER_ALLOWED_HOSTS" in done.stderr


def test_before_nginx_1_27_the_replicas_of_the_start_serve(start):
    """Nginx resolves names at start, and finds replicas that started later by their name."""
    edge = start(UPSTREAM_RESOLVE="on", UI_UPSTREAM="localhost:1")
    text = (edge.run_dir / "conf.d/ui-group.http.conf").read_text()
    if "server 127.0.0.1:1;" not in text:
        pytest.skip("This Nginx follows names by itself: nothing to test")
    assert "hash $ui_visitor consistent;" in text
    answer = edge.send("/")
    assert (answer.status, b"reloads by itself" in answer.content) == (502, True) or b"One moment" in answer.content
