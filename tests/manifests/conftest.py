"""The manifests as the cluster gets them: what `kubectl kustomize k8s/` prints."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def rendered_text() -> str:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is missing: https://kubernetes.io/docs/tasks/tools/")
    run = subprocess.run([kubectl, "kustomize", "k8s"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    # Kustomize warns here of fields that it will drop.
    assert not run.stderr, run.stderr
    return run.stdout


@pytest.fixture(scope="session")
def objects(rendered_text: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Every object of the stack, by (kind, name)."""
    documents = list(yaml.safe_load_all(rendered_text))
    by_key = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(by_key) == len(documents), "two objects of one kind have the same name"
    return by_key


@pytest.fixture(scope="session")
def workloads(objects: dict[tuple[str, str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Every object that makes pods, by name."""
    kinds = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}
    return {name: document for (kind, name), document in objects.items() if kind in kinds}
