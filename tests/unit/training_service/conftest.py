"""Training services to test: one for each module, and more where a test stops its own."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.training_service.running import Service


@pytest.fixture(scope="session")
def make_service(
    tmp_path_factory: pytest.TempPathFactory, trained_store: Path, repository: Path
) -> Iterator[Callable[..., Service]]:
    """Make a service without starting it; its store has one version, and `settings` are variables."""
    made: list[Service] = []

    def make(**settings: object) -> Service:
        folder = tmp_path_factory.mktemp("service")
        shutil.copytree(trained_store, folder / "artifacts")
        made.append(Service(folder, repository, {name.upper(): str(value) for name, value in settings.items()}))
        return made[-1]

    yield make
    for service in made:
        if service.process is not None and service.process.poll() is None:
            service.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def service(make_service: Callable[..., Service]) -> Service:
    """A running service that the tests of a module share."""
    return make_service(queue_length=2).start()


@pytest.fixture(autouse=True)
def _nothing_is_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """Cancel the jobs of a failed test, which would delay the next one."""
    yield
    if "service" in request.fixturenames:
        shared: Service = request.getfixturevalue("service")
        for job in shared.ask("GET", "/jobs").json()["jobs"]:
            if job["state"] in ("queued", "running"):
                shared.ask("POST", f"/jobs/{job['id']}/cancel")
                shared.end_of(job["id"])
