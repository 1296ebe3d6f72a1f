"""Every error has one form, and shows nothing of the implementation."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from http_service.bearer import unauthorized
from http_service.problems import MAX_ERRORS, InvalidFields, Problem, sentence


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/nowhere", 404, "Not Found"),
        ("POST", "/echo/", 404, "Not Found"),
        ("POST", "//echo", 404, "Not Found"),
        ("DELETE", "/echo", 405, "Method Not Allowed"),
        ("GET", "/broken", 500, "Internal Server Error"),
    ],
)
def test_every_error_has_the_one_form(client: FlaskClient, method: str, path: str, status: int, title: str) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    problem = answer.json
    assert list(problem) == ["type", "title", "status", "detail", "error", "request_id", "errors"]
    assert (problem["type"], problem["title"], problem["status"]) == ("about:blank", title, status)
    assert problem["detail"] == problem["error"] and problem["detail"].endswith(".")
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["errors"] == []
    assert "secret" not in answer.text
    assert answer.headers.get("Allow") == ("OPTIONS, POST" if status == 405 else None)


def test_an_unexpected_failure_is_logged_once_with_its_trace(
    client: FlaskClient, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    client.get("/broken", headers={"X-Request-ID": "id-1"})
    failure, request = lines()
    assert (failure["level"], failure["request_id"]) == ("error", "id-1")
    assert "RuntimeError: secret: /srv/key" in failure["trace"]
    assert (request["status"], request["request_id"]) == (500, "id-1")


def test_a_problem_names_its_field(app: Flask) -> None:
    def fail() -> None:
        raise Problem(422, "size must be positive.", field="size")

    app.add_url_rule("/fail", view_func=fail)
    assert app.test_client().get("/fail").json["errors"] == [{"field": "size", "message": "size must be positive."}]


def test_only_the_first_invalid_fields_are_listed() -> None:
    problem = InvalidFields([{"field": f"f\n{number}", "message": "is missing"} for number in range(MAX_ERRORS + 3)])
    assert len(problem.errors) == MAX_ERRORS
    assert problem.detail.endswith("; and 3 more.") and problem.detail.isprintable()


def test_unauthorized_names_the_realm_and_the_error() -> None:
    missing, invalid = unauthorized("service", "Send it."), unauthorized("service", "No.", is_invalid=True)
    assert (missing.status, missing.headers) == (401, {"WWW-Authenticate": 'Bearer realm="service"'})
    assert invalid.headers == {"WWW-Authenticate": 'Bearer realm="service", error="invalid_token"'}


@pytest.mark.parametrize(("text", "expected"), [("it failed ", "it failed."), ("Why?", "Why?"), ("Yes.", "Yes.")])
def test_a_sentence_has_one_full_stop(text: str, expected: str) -> None:
    assert sentence(text) == expected
