"""Check answers that came through Nginx."""

import json


def header(received, name: str) -> str | None:
    return next((value for key, value in received.headers if key.lower() == name), None)


def check_problem(answer, status: int) -> None:
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(answer.content)
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
