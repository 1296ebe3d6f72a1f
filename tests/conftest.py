"""Ways to run the system, and what a skip means.

REQUIRE_ALL=1 turns every skip into a failure: on the build machine nothing may be missing.
"""

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.mlflow_stack import MlflowStack
from tests.stacks import ComposeStack, ProcessStack

FIXTURES = {"processes": "process_stack", "compose": "compose"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Cheap tests first: whoever broke something small should not wait for images to be built.
    order = ["style", "unit", "manifests", "scripts", "local_stack", "readme", "system", "containers"]
    rank = {name: index for index, name in enumerate(order)}
    folders = {item: item.path.relative_to(item.config.rootpath / "tests").parts[0] for item in items}
    items.sort(key=lambda item: (rank.get(folders[item], len(order)), "compose" in item.name))


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
    """The system as local processes, by the entry point of `make run`."""
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
    """Each way to run in turn; nothing where BASE_URL names a system that runs already."""
    return request.getfixturevalue(FIXTURES[request.param]) if request.param in FIXTURES else None


@pytest.fixture(scope="session")
def mlflow_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowStack]:
    """An MLflow server; each test registers under a name of its own."""
    with MlflowStack(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


_names = itertools.count(1)


@pytest.fixture
def mlflow_environ(mlflow_stack: MlflowStack) -> dict[str, str]:
    """What tells training or API of the server, with a registered model that nobody else uses."""
    return {"MLFLOW_TRACKING_URI": mlflow_stack.uri, "MLFLOW_MODEL_NAME": f"model-{next(_names)}"}
