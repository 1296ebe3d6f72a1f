"""Each request is one log line and has an id."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from http_service import request_log

Lines = Callable[[], list[dict[str, Any]]]


def test_a_request_is_one_line_with_its_fields(client: FlaskClient, lines: Lines) -> None:
    answer = client.post("/echo?secret=1", data=b"12345", headers={"X-Request-ID": "id-1"})
    (line,) = lines()
    assert answer.headers["X-Request-ID"] == "id-1" and answer.headers["Cache-Control"] == "no-store"
    assert 0 < line.pop("duration_ms") < 60_000
    assert {name: line[name] for name in line if name not in ("time", "process")} == {
        "message": "request",
        "level": "info",
        "logger": "http_service.request",
        "method": "POST",
        "path": "/echo",
        "route": "/echo",
        "status": 200,
        "request_bytes": 5,
        "response_bytes": 5,
        "request_id": "id-1",
        "client": "127.0.0.1",
    }


def test_a_request_without_flask_is_logged_in_the_same_form(client: FlaskClient, lines: Lines) -> None:
    client.post("/echo", data=b"1")
    request_log.write({"method": "POST", "status": 200})
    ours, theirs = lines()
    assert {name: theirs[name] for name in theirs if name != "time"}.items() <= ours.items()


@pytest.mark.parametrize(
    "path", ["/%22quoted%22", "/a%0Ab%0D%0Ac", "/%ED%A0%80", "/%00%1b[31m", "/%F0%9F%8C%B8", "/" + "x" * 3000]
)
def test_a_request_for_anything_is_one_valid_line(client: FlaskClient, lines: Lines, path: str) -> None:
    answer = client.get(path, headers={"X-Request-ID": "bad\x00id"})
    (line,) = lines()
    assert (line["status"], line["route"]) == (404, None)
    assert len(line["path"]) <= request_log.MAX_PATH_CHARACTERS
    assert line["request_id"] == answer.headers["X-Request-ID"] != "bad\x00id"


def test_probes_are_logged_when_debugging(client: FlaskClient, lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    client.get("/health")
    assert lines() == []
    caplog.set_level(logging.DEBUG)
    client.get("/health")
    assert [line["level"] for line in lines()] == ["debug"]


def test_a_long_body_that_was_rejected_ends_the_connection(client: FlaskClient) -> None:
    assert client.post("/echo", data=bytes(100_000)).headers["Connection"] == "close"
    assert "Connection" not in client.post("/echo", data=bytes(2_000)).headers
