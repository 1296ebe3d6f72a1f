"""Reading JSON strictly: invalid JSON is 400, an unusable number is 422 with the field's name."""

import math
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_app.rows.json_body import parse_json
from http_service.problems import InvalidFields, Problem


def _row(petal_width: str) -> bytes:
    return f'{{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":{petal_width}}}'.encode()


def _post(client: FlaskClient, body: bytes) -> Any:
    return client.post("/predict", data=body, content_type="application/json")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is empty"),
        (b" ", "not JSON: Expecting value at line 1"),
        (b"{", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b'{"a":1}{"b":2}', "not JSON: Extra data at line 1 column 8"),
        (b'{\n"a":01}', "at line 2 column"),
        (b"hello", "not JSON"),
        (b"nan", "not JSON"),
        (b'{"a":"line\nbreak"}', "not JSON: Invalid control character"),
        (b'{"a":.5}', "not JSON"),
        (b'{"a":+5}', "not JSON"),
        (b'{"a":0x10}', "not JSON"),
        (b'{"a":1_000}', "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8 at byte 0"),
        (b'{"a":"\xe9"}', "not UTF-8 at byte 6"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8 at byte 6"),
        (b"\x00", "not JSON"),
        (b"\x1f\x8b\x08\x00", "not UTF-8"),
        pytest.param(b"[" * 100_000, "nested too deeply", id="arrays"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, "nested too deeply", id="closed arrays"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply", id="objects"),
    ],
)
def test_what_is_not_json_is_400(client: FlaskClient, body: bytes, sentence: str) -> None:
    answer = _post(client, body)
    assert answer.status_code == 400
    assert sentence in answer.json["detail"]
    assert answer.json["errors"] == []


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null", b"true", b"NaN", b"-Infinity", b"[1,2,3,4]"])
def test_json_other_than_an_object_is_422(client: FlaskClient, body: bytes) -> None:
    answer = _post(client, body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == ["body"]
    assert "must be a JSON object, not " in answer.json["detail"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("NaN", "must be a finite number"),
        ("Infinity", "must be a finite number"),
        ("-Infinity", "must be a finite number"),
        ("1e400", "must be a finite number"),
        ("-1e400", "must be a finite number"),
        pytest.param(str(10**400), "must be a", id="10**400"),
        pytest.param(str(10**399), "must be a", id="10**399"),
        pytest.param("9" * 5000, "must be a finite number", id="5000 digits"),
        pytest.param("-" + "9" * 5000, "must be a", id="-5000 digits"),
        pytest.param("9" * 500_000, "must be a finite number", id="500,000 digits"),
        ("1e39", "must be a number that fits 32-bit floating point"),
        ("-1e39", "must be a number that fits 32-bit floating point"),
        ("3.4028236e38", "must be a number that fits 32-bit floating point"),
        ("true", "must be a number, not a boolean"),
        ("false", "must be a number, not a boolean"),
        ("null", "must be a number, not null"),
        ('"5.1"', "must be a number, not a string"),
        ('""', "must be a number, not a string"),
        ('"NaN"', "must be a number, not a string"),
        ("[]", "must be a number, not an array"),
        ("[0.2]", "must be a number, not an array"),
        ("[[[]]]", "must be a number, not an array"),
        ("{}", "must be a number, not an object"),
    ],
)
@pytest.mark.parametrize("form", ["named", "positional"])
def test_an_unusable_number_is_422_with_its_name(client: FlaskClient, number: str, message: str, form: str) -> None:
    body = _row(number) if form == "named" else f'{{"features":[5.1,3.5,1.4,{number}]}}'.encode()
    answer = _post(client, body)
    assert answer.status_code == 422
    (error,) = answer.json["errors"]
    assert error["field"] == "petal_width"
    assert error["message"].startswith(message)
    assert answer.json["detail"] == f"petal_width {error['message']}."
    assert len(answer.data) < 600, "the answer repeats the body"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (_row("0.2")[:-1] + b',"petal_width":0.3}', "petal_width"),
        (_row("0.2")[:-1] + b',"petal_width":0.2}', "petal_width"),
        (b'{"features":[1,2,3,4],"features":[4,3,2,1]}', "features"),
        (b'{"features":[{"a":1,"a":2}]}', "a"),
        (b'{"a":1,"\\u0061":2}', "a"),
    ],
)
def test_a_duplicate_name_is_rejected(client: FlaskClient, body: bytes, field: str) -> None:
    """Two programs that read one body must not read different numbers from it."""
    answer = _post(client, body)
    assert answer.status_code == 422
    assert answer.json["errors"] == [{"field": field, "message": "appears more than once in one object"}]


@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "application/x-www-form-urlencoded", "json", None])
def test_another_content_type_is_415(client: FlaskClient, content_type: str | None) -> None:
    """curl -d declares a form by default; the sentence names the accepted type."""
    answer = client.post("/predict", data=_row("0.2"), content_type=content_type)
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity"])
def test_a_compressed_body_is_415(client: FlaskClient, encoding: str) -> None:
    """Unpacking would let a small body fill the memory."""
    headers = {"Content-Encoding": encoding}
    answer = client.post("/predict", data=_row("0.2"), content_type="application/json", headers=headers)
    assert answer.status_code == 415
    assert "Content-Encoding" in answer.json["detail"]


def test_content_encoding_identity_is_accepted(client: FlaskClient) -> None:
    headers = {"Content-Encoding": "Identity"}
    answer = client.post("/predict", data=_row("0.2"), content_type="application/json", headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 413), (1000, 413)])
def test_body_limit_is_exact(make_app: Any, trained_store: Any, beyond: int, status: int) -> None:
    limit = 200
    client = make_app(trained_store, max_body_bytes=limit).test_client()
    body = _row("0.2").ljust(limit + beyond)
    answer = _post(client, body)
    assert (len(body), answer.status_code) == (limit + beyond, status)
    if status == 413:
        assert "larger than this service takes" in answer.json["detail"]


def test_numbers_are_read_as_python_reads_them() -> None:
    assert parse_json(b'{"a":[1,-2.5,1e3,0.1]}') == {"a": [1, -2.5, 1000.0, 0.1]}
    assert parse_json(str(10**399).encode()) == 10**399
    assert parse_json(b"9" * 401) == math.inf
    assert math.isnan(parse_json(b"NaN"))


def test_problems_carry_their_status() -> None:
    with pytest.raises(Problem) as problem:
        parse_json(b"{")
    assert problem.value.status == 400
    with pytest.raises(InvalidFields) as twice:
        parse_json(b'{"a":1,"a":1}')
    assert twice.value.status == 422
