"""Which overlays and components go together, and how a combination is rendered."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"

Objects = dict[tuple[str, str], dict[str, Any]]

OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
# What each overlay lists already, and so is not added again.
LISTED: dict[str, list[str]] = {
    name: [
        Path(path).name
        for path in yaml.safe_load((K8S / f"overlays/{name}/kustomization.yaml").read_text()).get("components", [])
    ]
    for name in OVERLAYS
}
# Every component on base and on every overlay; then those that meet in one object, together.
TOGETHER = [
    ("canary", "shadow"),
    ("autoscaling", "canary", "network-policies"),
    ("autoscaling-keda", "shadow", "network-policies"),
    ("ingress", "gateway", "tls-cert-manager"),
    ("autoscaling", "network-policies", "ingress", "tls-cert-manager", "canary", "shadow"),
    ("autoscaling-keda", "network-policies", "gateway", "tls-cert-manager", "canary", "shadow"),
]


def _combinations() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name -> (what is built on, components added)."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {"k8s": ("k8s", ())}
    bases = {"k8s": [], **LISTED}
    for base, listed in bases.items():
        folder = base if base == "k8s" else f"k8s/overlays/{base}"
        added = [(), *((component,) for component in COMPONENTS), *TOGETHER]
        for components in added:
            # Two autoscalers would pull at one Deployment.
            scalers = {"autoscaling", "autoscaling-keda"} & {*listed, *components}
            if set(components) & set(listed) or len(scalers) > 1:
                continue
            found["+".join([base, *components])] = (folder, components)
    return found


COMBINATIONS = _combinations()


def kustomize(folder: Path) -> str:
    """What `kubectl kustomize FOLDER` prints."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is missing: https://kubernetes.io/docs/tasks/tools/")
    run = subprocess.run([kubectl, "kustomize", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    # Kustomize warns here of fields that it will drop.
    assert not run.stderr, run.stderr
    return run.stdout


def parse(text: str) -> Objects:
    """Every object, by (kind, name)."""
    documents = list(yaml.safe_load_all(text))
    by_key = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(by_key) == len(documents), "two objects of one kind have the same name"
    return by_key


def render(name: str, scratch: Path) -> str:
    """A combination, by its name, as the cluster gets it; scratch is an empty folder."""
    base, components = COMBINATIONS[name]
    folder = ROOT / base
    if not components:
        return kustomize(folder)
    kustomization = {
        "namespace": yaml.safe_load((folder / "kustomization.yaml").read_text()).get("namespace", "iris"),
        "resources": [os.path.relpath(folder, scratch)],
        "components": [os.path.relpath(K8S / "components" / component, scratch) for component in components],
    }
    (scratch / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomize(scratch)


def workloads_of(objects: Objects) -> dict[str, dict[str, Any]]:
    """Every object that makes pods, by name."""
    kinds = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}
    return {name: document for (kind, name), document in objects.items() if kind in kinds}
