"""The valid combinations of overlays and components, and their rendering."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"

Objects = dict[tuple[str, str], dict[str, Any]]

OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
# The components that an overlay already lists.
LISTED: dict[str, list[str]] = {
    name: [
        Path(path).name
        for path in yaml.safe_load((K8S / f"overlays/{name}/kustomization.yaml").read_text()).get("components", [])
    ]
    for name in OVERLAYS
}
# The components that must be listed before it.
NEEDS = {"retraining": "model-store", "training-service": "model-store", "registry": "model-store"}
# Every component on the base and on every overlay; then components that patch one object, together.
TOGETHER = [
    ("canary", "shadow"),
    ("autoscaling", "canary", "network-policies"),
    ("autoscaling-keda", "shadow", "network-policies"),
    ("ingress", "gateway", "tls-cert-manager"),
    ("autoscaling", "network-policies", "ingress", "tls-cert-manager", "canary", "shadow"),
    ("autoscaling-keda", "network-policies", "gateway", "tls-cert-manager", "canary", "shadow"),
    ("canary", "shadow", "model-store"),
    ("model-store", "retraining", "training-service"),
    ("shadow", "model-store", "retraining", "training-service", "registry", "network-policies"),
    # The opposite order.
    ("network-policies", "model-store", "registry", "training-service", "retraining", "autoscaling"),
    ("model-store", "retraining", "training-service", "registry"),
]


def _combinations() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return by name: (the base or overlay, the added components)."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {"k8s": ("k8s", ())}
    bases = {"k8s": [], **LISTED}
    for base, listed in bases.items():
        folder = base if base == "k8s" else f"k8s/overlays/{base}"
        alone = [(NEEDS[name], name) if name in NEEDS else (name,) for name in COMPONENTS]
        added = [(), *alone, *TOGETHER]
        for components in added:
            # Two autoscalers must not scale one Deployment.
            scalers = {"autoscaling", "autoscaling-keda"} & {*listed, *components}
            if set(components) & set(listed) or len(scalers) > 1:
                continue
            found["+".join([base, *components])] = (folder, components)
    return found


COMBINATIONS = _combinations()


def run_kustomize(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `kubectl kustomize FOLDER`; return the process, failed or not."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is missing: https://kubernetes.io/docs/tasks/tools/")
    return subprocess.run([kubectl, "kustomize", str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)


def kustomize(folder: Path) -> str:
    """Return the output of `kubectl kustomize FOLDER`."""
    run = run_kustomize(folder)
    assert run.returncode == 0, run.stderr
    # Kustomize warns here of fields that it will drop.
    assert not run.stderr, run.stderr
    return run.stdout


def parse(text: str) -> Objects:
    """Return every object, by (kind, name)."""
    documents = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    by_key = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    assert len(by_key) == len(documents), "two objects of one kind have the same name"
    return by_key


def write_overlay(scratch: Path, base: str, components: Sequence[str], **more: Any) -> Path:
    """Write an operator's overlay into an empty folder; `more` has further fields. Return the folder."""
    folder = ROOT / base
    kustomization = {
        "namespace": yaml.safe_load((folder / "kustomization.yaml").read_text()).get("namespace", "iris"),
        "resources": [os.path.relpath(folder, scratch)],
        "components": [os.path.relpath(K8S / "components" / component, scratch) for component in components],
        **more,
    }
    (scratch / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return scratch


def render(name: str, scratch: Path) -> str:
    """Render a combination by its name; scratch is an empty folder."""
    base, components = COMBINATIONS[name]
    return kustomize(write_overlay(scratch, base, components) if components else ROOT / base)


def workloads_of(objects: Objects) -> dict[str, dict[str, Any]]:
    """Return every object that creates pods, by name."""
    kinds = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}
    return {name: document for (kind, name), document in objects.items() if kind in kinds}
