"""API keys and limits in the whole stack: one variable enables each, and a rejected request gets a problem document."""

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
    """A stack that requires API keys and limits the rate of each."""
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
def test_a_key_is_required_and_passes_nginx_in_either_header(limited: ProcessStack, header: str) -> None:
    assert predict(limited, "dave", header).status_code == 200
    rejected = predict(limited, "not-a-key", header)
    check_problem(rejected, 401)
    assert rejected.headers["WWW-Authenticate"].startswith("Bearer ")
    check_problem(predict(limited, None), 401)


def test_probes_and_the_page_need_no_key_and_have_no_limit(limited: ProcessStack) -> None:
    for path in ("/health", "/ready", "/"):
        answers = Counter(send(limited, "GET", path).status_code for _ in range(3 * BURST))
        assert answers == {200: 3 * BURST}, path


def test_requests_above_the_burst_get_429_and_other_keys_are_not_affected(limited: ProcessStack) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: predict(limited, "alice"), range(60)))
    counted = Counter(answer.status_code for answer in answers)
    assert counted.keys() == {200, 429}
    assert counted[200] >= BURST + 1
    assert counted[429] >= 10
    rejected = next(answer for answer in answers if answer.status_code == 429)
    check_problem(rejected, 429)
    assert rejected.headers["Retry-After"] == "1"
    assert predict(limited, "bob").status_code == 200
    time.sleep(int(rejected.headers["Retry-After"]))
    assert [predict(limited, "alice").status_code for _ in range(RATE - 1)] == [200] * (RATE - 1)


def test_logs_contain_the_id_of_a_key_and_never_the_key(limited: ProcessStack) -> None:
    assert predict(limited, "carol").status_code == 200
    # The API answers before it logs.
    deadline = time.monotonic() + 10
    while '"api_key":"carol"' not in (text := limited.logs()):
        assert time.monotonic() < deadline, "no log line contains the id of the key"
        time.sleep(0.05)
    for key in KEYS.values():
        assert key not in text
        assert key not in "".join(limited.lines)
