"""Errors for requests that never reach Flask."""

import socket

import pytest

from http_service.gunicorn.problem import write_problem


@pytest.mark.parametrize("status", [400, 403, 414, 417, 431, 500, 501])
def test_gunicorns_errors_are_complete_problems(status: int) -> None:
    client, server = socket.socketpair()
    with client, server:
        write_problem(server, status, "Reason", "<script>what the client sent</script>")
        header, body = client.recv(65536).split(b"\r\n\r\n")
    assert header.startswith(b"HTTP/1.1 %d Reason\r\n" % status)
    assert b"Content-Length: %d\r\n" % len(body) in header
    assert b"application/problem+json" in header
    assert b"script" not in body
