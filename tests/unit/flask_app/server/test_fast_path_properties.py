"""For any request, the fast path sends the bytes of Gunicorn and Flask, or leaves the request to them."""

import json
import re
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi
from gunicorn.http.parser import RequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_app.server.fast_path import NEED_MORE
from http_service.gunicorn.response import OneWriteResponse

CLIENT, SERVER = ("127.0.0.1", 40000), ("127.0.0.1", 5000)
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]

bounded = settings(max_examples=200, deadline=None, database=None)

numbers = st.one_of(
    st.floats(-100, 100).map(repr),
    st.integers(-(10**25), 10**25).map(str),
    st.from_regex(r"(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9])?", fullmatch=True),
)
odd_values = st.one_of(
    st.floats(width=32).map(json.dumps),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["true", "null", '"5.1"', "[1]", "{}", "05", "1.", "+1", "-0"]),
)
spaces = st.sampled_from(["", " ", "\n\t", "\r\n "])


@st.composite
def bodies(draw: st.DrawFn, is_clean: bool) -> bytes:
    """A row by name or by position."""
    space = draw(spaces)
    values = numbers if is_clean else numbers | odd_values
    if draw(st.booleans()):
        names = draw(st.permutations(NAMES))
        if not is_clean:
            names = draw(st.lists(st.sampled_from([*NAMES, "features", "colour", "\\u0073epal_length"]), max_size=6))
        fields = (f'{space}"{name}"{space}:{space}{draw(values)}' for name in names)
        return f"{space}{{{','.join(fields)}{space}}}{space}".encode()
    count = 4 if is_clean else draw(st.integers(0, 6))
    row = f"{space},{space}".join(draw(values) for _ in range(count))
    return f'{{"features"{space}:[{space}{row}{space}]}}'.encode()


plain_fields = st.sampled_from(
    [("X-Request-ID", "same"), ("Accept", "*/*"), ("Cookie", ""), ("X-Request-ID", "not a token"), ("DNT", "1")]
)
odd_fields = st.sampled_from(
    [
        ("Connection", "keep-alive"),
        ("Connection", "Keep-Alive"),
        ("Connection", "close"),
        ("Accept", "text/csv"),
        ("Host", "a b"),
        ("Content-Type", "text/csv"),
        ("Content-Length", "3"),
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "https"),
        ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"),
        ("Content-Encoding", "gzip"),
        ("X_Y", "z"),
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request to predict; half of them plain, with a clean row."""
    is_plain = draw(st.booleans())
    body = draw(bodies(is_clean=is_plain or draw(st.booleans())))
    fields = [
        ("Host", draw(st.sampled_from(["localhost", "[::1]:5000", "a.example"]))),
        ("Content-Type", draw(st.sampled_from(["application/json", "application/json; charset=utf-8"]))),
        ("Content-Length", str(len(body)) if is_plain else f"{draw(st.sampled_from(['', '0', '+', ' ']))}{len(body)}"),
    ]
    fields += draw(
        st.lists(plain_fields if is_plain else plain_fields | odd_fields, max_size=3, unique_by=lambda field: field[0])
    )
    case = draw(st.sampled_from([str, str.lower, str.upper]))
    blank = draw(st.sampled_from([": ", ":", ":  ", ":\t"]))
    lines = [f"{case(name)}{blank}{value}\r\n" for name, value in draw(st.permutations(fields))]
    return f"POST /predict HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + body


@pytest.fixture(scope="module")
def app(client: Any) -> Any:
    return client.application


def through_flask(app: Any, raw: bytes) -> bytes:
    """Return the response of Gunicorn's parser, Flask and our writer, in this process."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        config = Config()
        request = next(RequestParser(config, iter([raw]), CLIENT))
        _, environ = wsgi.create(request, theirs, CLIENT, SERVER, config)
        response = OneWriteResponse(request, theirs, SimpleNamespace(is_ssl=False, sendfile=True, protocol="http"))
        for part in app(environ, response.start_response):
            response.write(part)
        response.close()
        theirs.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: ours.recv(65536), b""))


def comparable(answer: bytes) -> bytes:
    """Return an answer without its time and a generated id."""
    return re.sub(rb"[0-9a-f]{32}", b"id", re.sub(rb"Date: [^\r]+", b"Date: now", answer))


def test_an_answer_has_the_bytes_of_flask(app: Any) -> None:
    answered = 0

    @bounded
    @given(requests())
    def check(raw: bytes) -> None:
        nonlocal answered
        answer = app.extensions["fast_path"].answer(raw, CLIENT[0])
        if isinstance(answer, bytes):
            answered += 1
            assert comparable(answer) == comparable(through_flask(app, raw))

    check()
    # Without answers, nothing was compared.
    assert answered > 20


@bounded
@given(raw=requests(), data=st.data())
def test_a_part_of_a_request_is_never_answered(app: Any, raw: bytes, data: st.DataObject) -> None:
    fast_path = app.extensions["fast_path"]
    end = data.draw(st.integers(0, len(raw) - 1))
    part = fast_path.answer(raw[:end], CLIENT[0])
    assert part is None or part is NEED_MORE
    if isinstance(fast_path.answer(raw, CLIENT[0]), bytes) and end >= len(b"POST /predict HTTP/1.1\r\n"):
        assert part is NEED_MORE


@bounded
@given(st.binary(max_size=200))
def test_it_never_fails(app: Any, raw: bytes) -> None:
    for request in (raw, b"POST /predict HTTP/1.1\r\n" + raw, b"POST /predict HTTP/1.1\r\nHost: x\r\n\r\n" + raw):
        assert not isinstance(app.extensions["fast_path"].answer(request, CLIENT[0]), bytes)
