"""The manifests as `kubectl kustomize` renders them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.manifests.combinations import COMBINATIONS, Objects, parse, render, workloads_of


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The text of a combination, by its name; each is rendered once."""
    texts: dict[str, str] = {}

    def text(name: str) -> str:
        if name not in texts:
            texts[name] = render(name, tmp_path_factory.mktemp("overlay").resolve())
        return texts[name]

    return text


@pytest.fixture(scope="session")
def rendered_text(rendered: Callable[[str], str]) -> str:
    """The manifests that `kubectl apply -k k8s/` applies."""
    return rendered("k8s")


@pytest.fixture(scope="session")
def objects(rendered_text: str) -> Objects:
    """The objects of `kubectl apply -k k8s/`, by (kind, name)."""
    return parse(rendered_text)


@pytest.fixture(scope="session")
def workloads(objects: Objects) -> dict[str, dict[str, Any]]:
    """Every object that creates pods, by name."""
    return workloads_of(objects)


@pytest.fixture(scope="session", params=COMBINATIONS)
def combination(request: pytest.FixtureRequest, rendered: Callable[[str], str]) -> Objects:
    """The objects of each combination in turn."""
    return parse(rendered(request.param))
