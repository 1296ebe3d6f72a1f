"""Errors: one form for all of them, with one sentence and no internals."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

MEMBERS = ["type", "title", "status", "detail", "error", "request_id", "errors"]


def _check(answer: Any, status: int, title: str) -> None:
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    problem = answer.json
    assert list(problem) == MEMBERS
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", title, status)
    assert problem["detail"] == problem["error"]
    assert problem["detail"].endswith(".") and "\n" not in problem["detail"]
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert isinstance(problem["errors"], list)
    assert all(error.keys() == {"field", "message"} for error in problem["errors"])
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("request_", "status", "title"),
    [
        ({"path": "/predict", "method": "POST", "data": "{", "content_type": "application/json"}, 400, "Bad Request"),
        ({"path": "/nowhere"}, 404, "Not Found"),
        ({"path": "/"}, 404, "Not Found"),
        ({"path": "/predict/", "method": "POST", "json": {}}, 404, "Not Found"),
        ({"path": "//predict", "method": "POST", "json": {}}, 404, "Not Found"),
        ({"path": "/predict"}, 405, "Method Not Allowed"),
        ({"path": "/health", "method": "POST"}, 405, "Method Not Allowed"),
        ({"path": "/predict", "method": "BREW"}, 405, "Method Not Allowed"),
        (
            {"path": "/predict", "method": "POST", "data": b" " * 5_000_000, "content_type": "application/json"},
            413,
            "Content Too Large",
        ),
        ({"path": "/predict", "method": "POST", "data": "x"}, 415, "Unsupported Media Type"),
        ({"path": "/predict", "method": "POST", "json": {}}, 422, "Unprocessable Content"),
    ],
    ids=lambda value: f"{value['path']} {value.get('method', 'GET')}" if isinstance(value, dict) else None,
)
def test_every_error_has_the_one_form(client: FlaskClient, request_: dict[str, Any], status: int, title: str) -> None:
    _check(client.open(**request_), status, title)


@pytest.mark.parametrize(
    ("path", "allowed"), [("/predict", {"POST", "OPTIONS"}), ("/model", {"GET", "HEAD", "OPTIONS"})]
)
def test_a_wrong_method_gets_the_allowed_ones(client: FlaskClient, path: str, allowed: set[str]) -> None:
    answer = client.delete(path)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_a_name_with_special_characters_stays_valid_json(client: FlaskClient) -> None:
    body = b'{"a\\"b\\u0000\\ud800<script>": 1}'
    answer = client.post("/predict", data=body, content_type="application/json")
    _check(answer, 422, "Unprocessable Content")
    assert answer.json["errors"][0]["field"] == 'a"b\x00\ud800<script>'


@pytest.mark.parametrize("name", ["a\nb", "a\r\nX-Forged: 1"])
def test_a_sentence_stays_one_line(client: FlaskClient, name: str) -> None:
    detail = client.post("/predict", json={name: 1}).json["detail"]
    assert len(detail.splitlines()) == 1


@pytest.fixture
def unexpected(log: Any, make_app: Any, trained_store: Any, setosa: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The answer when the model itself fails; `log` has the log lines."""
    app: Flask = make_app(trained_store)
    log.stream.truncate(0)
    log.stream.seek(0)

    def broken(_rows: Any) -> None:
        raise RuntimeError("secret of the inside: /srv/key")

    monkeypatch.setattr(app.extensions["model_holder"].served.artifact.model, "predict_one", broken)
    return app.test_client().post("/predict", json=setosa, headers={"X-Request-ID": "broken-1"})


def test_an_unexpected_failure_shows_nothing_of_the_inside(unexpected: Any) -> None:
    _check(unexpected, 500, "Internal Server Error")
    for leak in ("secret", "RuntimeError", "Traceback", "/srv", ".py"):
        assert leak not in unexpected.text


def test_an_unexpected_failure_does_not_break_the_next_request(
    unexpected: Any, client: FlaskClient, setosa: Any
) -> None:
    assert unexpected.status_code == 500
    assert client.post("/predict", json=setosa).status_code == 200
