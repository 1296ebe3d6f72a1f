"""Train, activate and roll back over HTTP while the stack serves; no request fails."""

import concurrent.futures
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from model_artifact.store import ArtifactStore
from tests.stacks import ProcessStack

SETOSA = {"features": [5.1, 3.5, 1.4, 0.2]}
PATIENCE = 120


def ask(stack: ProcessStack, method: str, path: str, **arguments: Any) -> Any:
    """Send a request with the admin token to the training service; return its JSON."""
    headers = {"Authorization": f"Bearer {stack.admin_token_file.read_text().strip()}"}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.request(method, stack.training_url + path, headers=headers, timeout=30, **arguments)
    assert answer.ok, answer.text
    return answer.json()


class Load:
    """Four clients that predict through Nginx continuously and count the responses of each version."""

    def __init__(self, stack: ProcessStack) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self.answers: Counter[str] = Counter()
        self.failed: list[str] = []

    def __enter__(self) -> "Load":
        self._pool = concurrent.futures.ThreadPoolExecutor(4)
        self._clients = [self._pool.submit(self._run) for _ in range(4)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def _run(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = self._stack.ca_cert
            while not self._stop.is_set():
                try:
                    answer = session.post(f"{self._stack.base_url}/predict", json=SETOSA, timeout=30)
                except requests.RequestException as error:
                    self.failed.append(repr(error))
                    continue
                if answer.status_code == 200:
                    self.answers[answer.json()["model_version"]] += 1
                else:
                    self.failed.append(f"{answer.status_code} {answer.text}")

    def until_all_answers_are_of(self, version: str) -> None:
        """Wait until only this version answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            before = self.answers.copy()
            time.sleep(0.5)
            new = self.answers - before
            if set(new) == {version} and new.total() >= 20:
                return
            assert time.monotonic() < deadline, f"{new} answered, and not {version} alone"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessStack]:
    """A stack for these tests alone: the first writes to its store, the last stops it."""
    with ProcessStack(tmp_path_factory.mktemp("training")) as running:
        yield running


# --- order matters -------------------------------------------------------------------------------------------------


def test_train_activate_and_roll_back_under_load_without_a_failed_request(stack: ProcessStack) -> None:
    first = ArtifactStore(stack.store).current()
    stack.wait_for(f"{stack.training_url}/  training service")
    assert stack.wait_for("admin token: ").split()[-1] == str(stack.admin_token_file)
    with Load(stack) as load:
        load.until_all_answers_are_of(first)
        asked = {"data": "iris", "config": {"folds": 0, "parameters": {"n_estimators": 30}}, "force": True}
        name = ask(stack, "POST", "/train", json=asked)["id"]
        deadline = time.monotonic() + PATIENCE
        while (job := ask(stack, "GET", f"/jobs/{name}"))["state"] in ("queued", "running"):
            assert time.monotonic() < deadline, job
            time.sleep(0.1)
        assert job["state"] == "promoted", job
        load.until_all_answers_are_of(job["version"])
        assert ask(stack, "POST", "/rollback") == {"champion": first}
        load.until_all_answers_are_of(first)
        assert ask(stack, "POST", f"/models/{job['version']}/activate", json={"force": True}) == {
            "champion": job["version"]
        }
        load.until_all_answers_are_of(job["version"])
    print(
        f"\n{load.answers.total()} predictions answered during a training and three switches, {len(load.failed)} failed"
    )
    assert load.failed == []
    assert set(load.answers) == {first, job["version"]}


def test_the_stack_stops_while_a_job_runs(stack: ProcessStack) -> None:
    name = ask(stack, "POST", "/train", json={"data": "iris", "config": {"search": 10_000}})["id"]
    deadline = time.monotonic() + PATIENCE
    while ask(stack, "GET", f"/jobs/{name}")["stage"] != "search":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    champion = ArtifactStore(stack.store).current()
    assert stack.stop() == 130
    assert ArtifactStore(stack.store).current() == champion
    deadline = time.monotonic() + 10
    while jobs_of(stack):
        assert time.monotonic() < deadline, "the job is still running"
        time.sleep(0.1)


def jobs_of(stack: ProcessStack) -> list[int]:
    """Return the ids of the job processes that train into the stack's store."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command, environ = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
        except OSError:
            continue
        if b"training_service.jobs.limited" in command and f"MODEL_STORE={stack.store}".encode() in environ:
            found.append(int(path.name))
    return found
