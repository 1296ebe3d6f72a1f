"""Answers leave in one write, so that a worker that is killed leaves a whole answer or none."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.http import wsgi

from http_service.gunicorn.response import OneWriteResponse


class Socket:
    """Record each write separately."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def gettimeout(self) -> float | None:
        return None

    def settimeout(self, seconds: float | None) -> None:
        pass

    def sendall(self, data: bytes) -> None:
        self.writes.append(bytes(data))


def _answer(kind: Any, parts: list[bytes], headers: list[tuple[str, str]], method: str, status: str) -> list[bytes]:
    request = SimpleNamespace(version=(1, 1), method=method, should_close=lambda: False)
    socket = Socket()
    response = kind(request, socket, SimpleNamespace(is_ssl=False, sendfile=True, protocol="http"))
    response.start_response(status, headers)
    for part in parts:
        response.write(part)
    response.close()
    return socket.writes


@pytest.mark.parametrize(
    ("parts", "headers", "method", "status", "writes"),
    [
        pytest.param([b"whole"], [("Content-Length", "5")], "POST", "200 OK", 1, id="body"),
        pytest.param([b"wh", b"ole"], [("Content-Length", "5")], "POST", "200 OK", 2, id="two parts"),
        pytest.param([], [("Content-Length", "0")], "POST", "200 OK", 1, id="empty"),
        pytest.param([b""], [("Content-Length", "0")], "OPTIONS", "200 OK", 1, id="empty part"),
        pytest.param([b"whole"], [("Content-Length", "5")], "HEAD", "200 OK", 1, id="HEAD"),
        pytest.param([], [], "GET", "204 No Content", 1, id="204"),
        pytest.param([b"too long"], [("Content-Length", "3")], "GET", "200 OK", 1, id="longer than said"),
        pytest.param([b"who", b"", b"le"], [], "GET", "200 OK", 3, id="chunked"),
        pytest.param([], [], "GET", "200 OK", 1, id="chunked, empty"),
    ],
)
def test_the_bytes_are_gunicorns_in_fewer_writes(
    monkeypatch: pytest.MonkeyPatch, parts: Any, headers: Any, method: str, status: str, writes: int
) -> None:
    monkeypatch.setattr("gunicorn.util.http_date", lambda: "today")
    ours = _answer(OneWriteResponse, parts, headers, method, status)
    assert b"".join(ours) == b"".join(_answer(wsgi.Response, parts, headers, method, status))
    assert len(ours) == writes


def test_a_file_is_sent_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    request = SimpleNamespace(version=(1, 1), method="GET", should_close=lambda: False)
    socket: Any = Socket()
    response = OneWriteResponse(request, socket, SimpleNamespace(is_ssl=False, sendfile=True, protocol="http"))
    response.start_response("200 OK", [("Content-Length", "5")])
    response.write_file(wsgi.FileWrapper(io.BytesIO(b"whole")))
    response.close()
    assert len(socket.writes) == 1 and socket.writes[0].endswith(b"\r\n\r\nwhole")
