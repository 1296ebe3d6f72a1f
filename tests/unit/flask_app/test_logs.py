"""The API logs one line a request, with the model's version."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient


def test_a_request_is_one_line_with_its_fields(client: FlaskClient, setosa: Any, log: Any) -> None:
    body = json.dumps(setosa)
    headers = {"X-Request-ID": "id-1", "Content-Type": "application/json"}
    answer = client.post("/predict?secret=1", data=body, headers=headers)
    (line,) = log.lines()
    expected = {
        "message": "request",
        "level": "info",
        "method": "POST",
        "path": "/predict",
        "route": "/predict",
        "status": 200,
        "request_id": "id-1",
        "client": "127.0.0.1",
        "model_version": answer.json["model_version"],
        "request_bytes": len(body),
        "response_bytes": len(answer.data),
    }
    assert {name: line[name] for name in expected} == expected
    assert 0 < line["duration_ms"] < 60_000
    assert "secret" not in json.dumps(line), "a query string may hold what is not for the log"


@pytest.mark.parametrize("status", [400, 405, 413, 415, 422])
def test_a_rejected_request_is_logged_once(client: FlaskClient, log: Any, status: int) -> None:
    requests: dict[int, dict[str, Any]] = {
        400: {"data": "{", "content_type": "application/json"},
        405: {"method": "PUT"},
        413: {"data": b" " * 5_000_000, "content_type": "application/json"},
        415: {"data": "x"},
        422: {"json": {}},
    }
    client.open("/predict", **{"method": "POST", **requests[status]})
    (line,) = log.lines()
    assert (line["status"], line["path"]) == (status, "/predict")


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_only_failed_probes_are_logged(client: FlaskClient, make_app: Any, tmp_path: Any, log: Any, path: str) -> None:
    client.get(path)
    assert log.lines("request") == []
    make_app(tmp_path).test_client().get("/ready")
    (line,) = log.lines("request")
    assert (line["path"], line["status"]) == ("/ready", 503)
