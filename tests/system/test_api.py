"""The API's contract, through Nginx and, where its address is known, directly: the answers must be the same."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.system.conftest import Target

SETOSA = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
PROBLEM_MEMBERS = {"type", "title", "status", "detail", "error", "request_id", "errors"}

Ask = Callable[..., requests.Response]


@pytest.fixture(params=["nginx", "direct"])
def ask(request: pytest.FixtureRequest, target: Target, http: requests.Session) -> Ask:
    """Send a request to the API, through Nginx or directly."""
    base = target.base_url if request.param == "nginx" else target.api_url
    if base is None:
        pytest.skip("the API's own address is not known: set API_URL")
    return lambda method, path, **options: http.request(method, base + path, timeout=30, **options)


def post_raw(ask: Ask, body: bytes | str, content_type: str | None = "application/json") -> requests.Response:
    return ask("POST", "/predict", data=body, headers={"Content-Type": content_type} if content_type else {})


def assert_problem(response: requests.Response, status: int) -> dict[str, Any]:
    """Check that the answer is a complete problem document; return it."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem.keys() == PROBLEM_MEMBERS
    assert problem["status"] == status
    assert problem["error"] == problem["detail"] and problem["detail"].endswith(".")
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert "Traceback" not in response.text
    return problem


def test_one_row_by_name(ask: Ask) -> None:
    answer = ask("POST", "/predict", json=SETOSA)
    assert answer.status_code == 200
    body = answer.json()
    assert body["prediction"] == 0 and body["class_name"] == "setosa"
    assert list(body["probabilities"]) == ["setosa", "versicolor", "virginica"]
    assert sum(body["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert body["model_version"] == ask("GET", "/model").json()["model_version"]
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert "warnings" not in body


def test_both_forms_in_any_order_give_the_same_answer(ask: Ask) -> None:
    backwards = dict(reversed(SETOSA.items()))
    forms = [SETOSA, backwards, {"features": list(SETOSA.values())}]
    assert len({json.dumps(ask("POST", "/predict", json=form).json()["probabilities"]) for form in forms}) == 1


def test_golden_rows_give_the_cards_probabilities(ask: Ask) -> None:
    card = ask("GET", "/model").json()
    for row in card["golden_rows"]:
        answer = ask("POST", "/predict", json={"features": row["features"]}).json()
        assert list(answer["probabilities"].values()) == pytest.approx(row["probabilities"], abs=1e-6)


def test_a_value_outside_the_training_range_is_answered_with_a_warning(ask: Ask) -> None:
    body = ask("POST", "/predict", json={**SETOSA, "petal_length": 40}).json()
    assert [warning["field"] for warning in body["warnings"]] == ["petal_length"]
    assert "40" in body["warnings"][0]["message"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({**SETOSA, "petal_length": True}, ["petal_length"]),
        ({**SETOSA, "petal_length": "1.4"}, ["petal_length"]),
        ({**SETOSA, "petal_length": None}, ["petal_length"]),
        ({**SETOSA, "petal_length": [1.4]}, ["petal_length"]),
        ({**SETOSA, "petal_width": float("nan")}, ["petal_width"]),
        ({**SETOSA, "petal_width": float("inf")}, ["petal_width"]),
        ({**SETOSA, "petal_width": 1e39}, ["petal_width"]),
        ({**SETOSA, "colour": "blue"}, ["colour"]),
        ({"sepal_length": 5.1}, ["sepal_width", "petal_length", "petal_width"]),
        ({"features": [5.1, 3.5, "1.4", 0.2]}, ["petal_length"]),
        ({"features": [5.1, 3.5]}, ["features"]),
        ({"features": "5.1"}, ["features"]),
        ({}, ["sepal_length", "sepal_width", "petal_length", "petal_width"]),
        ([1, 2], ["body"]),
    ],
)
def test_a_wrong_field_is_named(ask: Ask, body: Any, fields: list[str]) -> None:
    problem = assert_problem(post_raw(ask, json.dumps(body)), 422)
    assert [error["field"] for error in problem["errors"]] == fields
    assert all(field in problem["detail"] for field in fields)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b'{"sepal_length": 5.1', "application/json", 400),
        (b"\xff\xfe\x00", "application/json", 400),
        (b"[" * 50_000, "application/json", 400),
        (b'{"sepal_length": 1e400}', "application/json", 422),
        (b'{"sepal_length": ' + b"9" * 5000 + b"}", "application/json", 422),
        (b'{"sepal_length": 1, "sepal_length": 2}', "application/json", 422),
        (b"sepal_length=5.1", "application/x-www-form-urlencoded", 415),
        (b'{"features": [5.1, 3.5, 1.4, 0.2]}', None, 415),
        (b" " * 4_194_305, "application/json", 413),
    ],
)
def test_a_bad_body_gets_its_status(ask: Ask, body: bytes, content_type: str | None, status: int) -> None:
    assert_problem(post_raw(ask, body, content_type), status)


def test_a_body_at_the_limit_is_read(ask: Ask) -> None:
    body = json.dumps(SETOSA).encode()
    assert post_raw(ask, body + b" " * (4_194_304 - len(body))).status_code == 200


def test_a_chunked_body_over_the_limit_is_rejected(ask: Ask) -> None:
    response = ask(
        "POST", "/predict", data=(b" " * 65536 for _ in range(65)), headers={"Content-Type": "application/json"}
    )
    assert_problem(response, 413)


def test_unknown_method_and_path(ask: Ask, target: Target) -> None:
    assert_problem(ask("GET", "/predict"), 405)
    assert ask("GET", "/predict").headers["Allow"]
    assert_problem(ask("GET", "/model/nothing"), 404)


def test_health_and_readiness(ask: Ask) -> None:
    assert ask("GET", "/health").json() == {"status": "ok"}
    ready = ask("GET", "/ready").json()
    assert ready["status"] == "ready" and ready["model_version"]


def test_the_callers_request_id_is_kept_and_a_strange_one_is_not(ask: Ask) -> None:
    mine = ask("POST", "/predict", json=SETOSA, headers={"X-Request-ID": "my-id_1.2"})
    assert mine.headers["X-Request-ID"] == mine.json()["request_id"] == "my-id_1.2"
    other = ask("POST", "/predict", json=SETOSA, headers={"X-Request-ID": 'a "quoted" one'})
    assert re.fullmatch("[0-9a-f]{32}", other.headers["X-Request-ID"])
    assert other.headers["X-Request-ID"] == other.json()["request_id"]
