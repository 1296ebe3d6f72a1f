"""API keys and limits in the whole stack: each is one variable away, and what is refused says so in JSON."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.stacks import ProcessStack

ROW = {"features": [5.1, 3.5, 1.4, 0.2]}
KEYS = {name: f"the-secret-key-of-{name}" for name in ("alice", "bob", "carol", "dave", "ui")}
RATE, BURST = 5, 10


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessStack]:
    """A stack that wants keys and counts them."""
    entries = [f"{name}:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in KEYS.items()]
    stack = ProcessStack(
        tmp_path_factory.mktemp("limited"),
        API_KEYS=",".join(entries),
        API_KEY=KEYS["ui"],
        RATE_LIMIT=str(RATE),
        RATE_BURST=str(BURST),
    )
    with stack as running:
        yield running


def send(stack: ProcessStack, method: str, path: str, **arguments: object) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, stack.base_url + path, verify=stack.ca_cert, timeout=30, **arguments)


def predict(stack: ProcessStack, name: str | None, header: str = "X-API-Key") -> requests.Response:
    headers = {} if name is None else {header: KEYS.get(name, name)}
    if header == "Authorization" and name is not None:
        headers = {header: f"Bearer {KEYS.get(name, name)}"}
    return send(stack, "POST", "/predict", json=ROW, headers=headers)


def check_problem(answer: requests.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["detail"].endswith(".")


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
def test_a_key_is_wanted_and_passes_nginx_in_either_header(limited: ProcessStack, header: str) -> None:
    assert predict(limited, "dave", header).status_code == 200
    refused = predict(limited, "not-a-key", header)
    check_problem(refused, 401)
    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
    check_problem(predict(limited, None), 401)


def test_probes_and_the_page_need_no_key_and_know_no_limit(limited: ProcessStack) -> None:
    for path in ("/health", "/ready", "/"):
        answers = Counter(send(limited, "GET", path).status_code for _ in range(3 * BURST))
        assert answers == {200: 3 * BURST}, path


def test_above_the_burst_it_is_429_until_a_moment_later_and_others_are_not_held_up(limited: ProcessStack) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: predict(limited, "alice"), range(60)))
    counted = Counter(answer.status_code for answer in answers)
    assert counted.keys() == {200, 429}
    assert counted[200] >= BURST + 1
    assert counted[429] >= 10
    refused = next(answer for answer in answers if answer.status_code == 429)
    check_problem(refused, 429)
    assert refused.headers["Retry-After"] == "1"
    assert predict(limited, "bob").status_code == 200
    time.sleep(int(refused.headers["Retry-After"]))
    assert [predict(limited, "alice").status_code for _ in range(RATE - 1)] == [200] * (RATE - 1)


def test_the_log_names_the_id_and_no_log_a_key(limited: ProcessStack) -> None:
    assert predict(limited, "carol").status_code == 200
    # The API answers before it logs.
    deadline = time.monotonic() + 10
    while '"api_key":"carol"' not in (text := limited.logs()):
        assert time.monotonic() < deadline, "no line names the key's owner"
        time.sleep(0.05)
    for key in KEYS.values():
        assert key not in text
        assert key not in "".join(limited.lines)
