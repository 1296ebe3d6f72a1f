"""docs/operations.md: everything that it names exists."""

import fcntl
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from model_training.train import FAILED, PROMOTED, REJECTED, USAGE
from tests.manifests.combinations import COMPONENTS, OVERLAYS, parse, render
from tests.readme.reader import ROOT, Reader

TEXT = (ROOT / "docs/operations.md").read_text()


def test_every_component_and_overlay_is_explained() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", TEXT.split("## Deploy")[0], re.MULTILINE) and set(COMPONENTS) == set(
        re.findall(r"^\| `([a-z-]+)` \|", TEXT.split("## Deploy")[0], re.MULTILINE)
    )
    for overlay in OVERLAYS:
        assert overlay in TEXT


def test_commands_name_objects_that_exist(tmp_path: Path) -> None:
    objects = parse(render("k8s+model-store+retraining+training-service+registry", tmp_path))
    kinds = {"deployment": "Deployment", "cronjob": "CronJob", "service": "Service"}
    for short, kind in kinds.items():
        named = set(re.findall(rf"\b{short}[/ ]([a-z-]+)\b", "\n".join(_commands())))
        assert named, kind
        assert named <= {name for found, name in objects if found == kind}, kind
    assert {"flask-api", "nginx-server", "streamlit-ui"} <= set(re.findall(r"deployment/([a-z-]+)", TEXT))


def _commands() -> list[str]:
    """Return every kubectl command, in a block or in a line."""
    return re.findall(r"kubectl [^`\n]+", TEXT)


def test_the_pod_for_tables_is_admitted_and_uses_claims_that_exist(tmp_path: Path) -> None:
    block = re.search(r"<<EOF\n(.*?)^EOF$", TEXT, re.DOTALL | re.MULTILINE)
    assert block
    manifest = yaml.safe_load(block[1])
    kubernetes_validate.validate(manifest, "1.28", strict=True)
    spec = manifest["spec"]
    # Pod Security "restricted" requires these.
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"]["type"]
    [container] = spec["containers"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    objects = parse(render("k8s+model-store+retraining", tmp_path))
    for volume in spec["volumes"]:
        assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in objects


def test_the_table_has_every_status_of_a_training() -> None:
    section = TEXT.split("### Retraining")[1].split("### ")[0]
    statuses = re.findall(r"^\| .+? \| (\d) \| .+ \|$", section, re.MULTILINE)
    assert sorted(statuses) == [str(status) for status in sorted((PROMOTED, FAILED, USAGE, REJECTED))]


def test_the_line_for_cron_trains(tmp_path: Path) -> None:
    """Run in a clone, with a time chosen by the test."""
    [line] = re.findall(r"<!-- tested: cron -->\n```cron\n(.+)\n```", TEXT)
    fields = line.split(maxsplit=5)
    assert re.fullmatch(r"[\d*]+", "".join(fields[:5]))
    Reader.with_clone(tmp_path)
    (tmp_path / ".run").mkdir()
    (tmp_path / "training.toml").write_text("folds = 0\n[parameters]\nn_estimators = 5\n")
    command = fields[5].replace("/srv/iris", str(tmp_path))
    # As cron: with sh and a minimal environment.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    first = run()
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "artifacts/current").read_text().strip() in first.stdout
    with (tmp_path / ".run/retraining.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = run()
    assert second.returncode == 1 and not second.stdout


def test_files_and_settings_that_it_names_exist() -> None:
    for path in set(re.findall(r"\bk8s/[a-z0-9/._-]+[a-z0-9]", TEXT)):
        assert (ROOT / path).exists(), path
    source = "\n".join(
        path.read_text()
        for folder in ("flask_app", "nginx", "k8s", "streamlit_app", "model_training")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix in {".py", ".sh", ".template", ".yaml", ".env"}
    )
    compose = (ROOT / "docker-compose.yaml").read_text()
    settings = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", TEXT))
    assert "CANARY_PERCENT" in settings
    for setting in settings:
        assert re.search(rf"\b({setting}|{setting.lower()})\b", source + compose), setting


def test_the_number_of_workers_is_as_documented() -> None:
    deployment = yaml.safe_load((ROOT / "k8s/base/flask-api/deployment.yaml").read_text())
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert f"`limits.cpu: {container['resources']['limits']['cpu']}` are two workers" in TEXT


def test_autoscalers_start_at_the_measured_cost() -> None:
    """65 us of CPU a request, so that 15,000 fill a core."""
    [row] = re.findall(r"per core of `flask-api` \| ([0-9,]+) by CPU: (\d+) us", TEXT)
    per_core = int(row[0].replace(",", ""))
    assert abs(per_core * int(row[1]) / 1e6 - 1) < 0.05
    components = ROOT / "k8s/components"
    scaled = yaml.safe_load((components / "autoscaling-keda/flask-api-scaledobject.yaml").read_text())
    threshold = int(scaled["spec"]["triggers"][0]["metadata"]["threshold"])
    assert f"above {threshold:,} requests a second each" in TEXT
    deployment = yaml.safe_load((ROOT / "k8s/base/flask-api/deployment.yaml").read_text())
    assert threshold / per_core == pytest.approx(_requested_cores(deployment), rel=0.1)
    hpa = yaml.safe_load((components / "autoscaling/flask-api-horizontalpodautoscaler.yaml").read_text())
    share = hpa["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] / 100
    text = " ".join(TEXT.split())
    for path in ("components/autoscaling/flask-api-deployment.yaml", "overlays/production/resources.yaml"):
        cores = _requested_cores(yaml.safe_load((ROOT / "k8s" / path).read_text())) * share
        assert f"{cores:g} cores, or about {cores * per_core:,.0f} requests a second" in text, path


def _requested_cores(deployment: dict[str, Any]) -> float:
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    cpu = container["resources"]["requests"]["cpu"]
    return int(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)
