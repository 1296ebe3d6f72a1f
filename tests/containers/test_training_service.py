"""The training service under Compose, which shares a volume of models with the API."""

import time
from typing import Any

import pytest
import requests

from tests.containers.test_compose import docker, inspect, load


@pytest.fixture
def ask(compose: Any) -> Any:
    """Send requests to the training service with its generated token: ask("POST", "/rollback")."""
    [container] = compose.containers("training-api")
    token = docker("exec", container, "cat", "/training/admin-token").strip()

    def send(method: str, path: str, **arguments: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            headers = {"Authorization": f"Bearer {token}"}
            return session.request(method, compose.training_url + path, headers=headers, timeout=30, **arguments)

    return send


def serves(compose: Any, version: str) -> None:
    """Wait until every worker of the API serves the version."""
    deadline = time.monotonic() + 60
    agreed = 0
    while agreed < 20:
        assert time.monotonic() < deadline, f"the API does not serve {version}"
        with requests.Session() as session:
            session.trust_env = False
            card = session.get(f"{compose.base_url}/model", verify=compose.ca_cert, timeout=10).json()
        agreed = agreed + 1 if card["model_version"] == version else 0


def test_a_job_trains_into_the_volume_that_the_api_reads(compose: Any, ask: Any) -> None:
    before = ask("GET", "/models").json()["champion"]
    # The volume first had the image's own model.
    serves(compose, before)
    queued = ask("POST", "/train", json={"data": "iris", "config": {"folds": 0, "parameters": {"n_estimators": 20}}})
    assert queued.status_code == 202, queued.text
    deadline = time.monotonic() + 120
    while (job := ask("GET", f"/jobs/{queued.json()['id']}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.2)
    assert job["state"] in ("promoted", "rejected"), job
    activated = ask("POST", f"/models/{job['version']}/activate", json={"force": True})
    assert activated.json() == {"champion": job["version"]}
    serves(compose, job["version"])
    assert ask("POST", "/rollback").json() == {"champion": before}
    serves(compose, before)
    assert load(compose, 10) == {200: 10}


def test_the_api_cannot_write_to_the_models(compose: Any) -> None:
    mounts = inspect(compose.containers("flask-api")[0])["Mounts"]
    [models] = [mount for mount in mounts if mount["Destination"] == "/models"]
    assert not models["RW"]
