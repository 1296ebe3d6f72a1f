"""The stacks that tests use, and the meaning of a skip.

REQUIRE_ALL=1 turns every skip into a failure: on the build machine nothing may be missing.
"""

import itertools
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.marks import CONTAINERS, mark
from tests.mlflow_stack import MlflowStack
from tests.stacks import ComposeStack, ProcessStack

FIXTURES = {"processes": "process_stack", "compose": "compose"}
ORDER = ["style", "unit", "manifests", "scripts", "local_stack", "readme", "system", "containers"]
# Chromium drops its connections when a container's network comes or goes, so its tests run after those of containers.
BROWSER = re.compile(r"^tests/(system/test_browser|system/test_docs_page|local_stack/test_train_page)\.py")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    for item in items:
        mark(item)
    # -m selects, and pytest brings tests with the same parameter of a fixture together.
    yield

    def rank(item: pytest.Item) -> tuple[bool, int, bool]:
        # Fast tests first: a small mistake should not wait for images. Several workers begin with the longest part.
        first = hasattr(config, "workerinput") and _group(item.nodeid) == "containers"
        folder = item.nodeid.split("/")[1]
        return not first, ORDER.index(folder) if folder in ORDER else len(ORDER), bool(CONTAINERS.search(item.nodeid))

    items.sort(key=rank)


def _group(nodeid: str) -> str:
    """Return the name of the tests that share a worker: those of a file, or those that share something costly."""
    if CONTAINERS.search(nodeid) or BROWSER.search(nodeid):
        return "containers"
    return "manifests" if nodeid.startswith("tests/manifests/") else nodeid.split("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker one group at a time, in our order."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("REQUIRE_ALL") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and REQUIRE_ALL=1 forbids that: {reason}"


def _ways() -> list[str]:
    return ["given"] if os.environ.get("BASE_URL") else list(FIXTURES)


@pytest.fixture(scope="session")
def process_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessStack]:
    """The system as local processes, as `make run` starts it."""
    with ProcessStack(tmp_path_factory.mktemp("processes")) as running:
        yield running


@pytest.fixture(scope="session")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """The system in containers, with the training service; its images are built from this checkout."""
    folder = tmp_path_factory.mktemp("compose")
    with ComposeStack(folder, COMPOSE_PROFILES="training", MODEL_STORE="/models") as running:
        yield running


@pytest.fixture(scope="session", params=_ways())
def stack(request: pytest.FixtureRequest) -> object:
    """Each stack in turn; None if BASE_URL names a running system."""
    return request.getfixturevalue(FIXTURES[request.param]) if request.param in FIXTURES else None


@pytest.fixture(scope="session")
def mlflow_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowStack]:
    """An MLflow server; each test uses its own registered model."""
    with MlflowStack(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


_names = itertools.count(1)


@pytest.fixture
def mlflow_environ(mlflow_stack: MlflowStack) -> dict[str, str]:
    """Variables for training or the API: the server, and a registered model for this test alone."""
    return {"MLFLOW_TRACKING_URI": mlflow_stack.uri, "MLFLOW_MODEL_NAME": f"model-{next(_names)}"}
