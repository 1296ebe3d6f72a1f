"""Checkov's policies for the manifests, in addition to our own in test_manifest_policy.py.

Checkov pins versions that ours must not follow, so it lives in an environment of its own (another path: CHECKOV=...):

    python3 -m venv .venv-policy && .venv-policy/bin/pip install --require-hashes -r requirements/policy.txt
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL = "checkov is missing: see the head of tests/manifests/test_manifest_checkov.py"
# Checks that do not apply, with the reason.
JUSTIFIED = {
    "CKV_K8S_15": "Always would ask a registry for images that only the cluster has; tags are never reused",
    "CKV_K8S_35": "Streamlit, MLflow and boto3 read theirs from the environment; ours are public keys and paths",
    "CKV_K8S_40": "101 is the user of the official nginx image; the pod shares no folder with the host",
    "CKV_K8S_43": "a digest would tie the manifests to one registry's copy of images that everybody builds",
    "CKV2_K8S_6": "network-policies is a component, which staging and production have: not every cluster enforces it",
}


def check(folder: Path) -> dict[str, dict[str, set[str]]]:
    """Return, for each file of a folder, its failed checks and the objects that fail them."""
    checkov = shutil.which(os.environ.get("CHECKOV") or ROOT / ".venv-policy/bin/checkov") or shutil.which("checkov")
    if checkov is None:
        pytest.skip(INSTALL)
    options = "--framework kubernetes --output json --skip-download --quiet"
    # Status 1 means that a check failed.
    run = subprocess.run(
        [checkov, "--directory", str(folder), *options.split()],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    report = json.loads(run.stdout)
    # Without any files, Checkov would pass as well.
    assert report["summary"]["resource_count"] > 0 and report["summary"]["parsing_errors"] == 0, run.stderr
    failed: dict[str, dict[str, set[str]]] = {path.stem: {} for path in folder.iterdir()}
    for result in report["results"]["failed_checks"]:
        of_file = failed[Path(result["file_path"]).stem]
        of_file.setdefault(result["check_id"], set()).add(result["resource"])
    return failed


# Every object of every combination is in one of these. Each list is one run of Checkov, where a network policy covers
# the pods of its namespace in all files: only the first list has none, and the others have a namespace once.
PRIVILEGED = "privileged"
RUNS = [
    ["k8s", "minikube", PRIVILEGED],
    [
        "staging",
        "production+canary+shadow",
        "k8s+autoscaling-keda+network-policies+gateway+tls-cert-manager+canary+shadow",
    ],
    ["k8s+shadow+model-store+retraining+training-service+registry+network-policies"],
]
CHECKED = [name for run in RUNS for name in run if name != PRIVILEGED]


@pytest.fixture(scope="module")
def failures(rendered, tmp_path_factory) -> dict[str, dict[str, set[str]]]:
    """The failed checks of each combination, and of one with a privileged container."""
    found = {}
    for names in RUNS:
        folder = tmp_path_factory.mktemp("checkov")
        for name in names:
            text = (
                rendered("k8s").replace("privileged: false", "privileged: true")
                if name == PRIVILEGED
                else rendered(name)
            )
            (folder / f"{name}.yaml").write_text(text)
        found |= check(folder)
    return found


@pytest.mark.parametrize("name", CHECKED)
def test_checkov_finds_only_what_is_justified(failures, name):
    assert {check_id: found for check_id, found in failures[name].items() if check_id not in JUSTIFIED} == {}


def test_every_justification_is_needed(failures):
    """An unused justification would hide a later mistake."""
    assert JUSTIFIED.keys() - {check_id for failed in failures.values() for check_id in failed} == set()


def test_network_policies_cover_every_pod(failures):
    assert "CKV2_K8S_6" in failures["k8s"]
    for name in CHECKED[2:]:
        assert "CKV2_K8S_6" not in failures[name]


def test_checkov_finds_a_privileged_container(failures):
    assert "CKV_K8S_16" in failures["privileged"]
