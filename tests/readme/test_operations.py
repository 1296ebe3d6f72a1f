"""The runbook names what exists."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.combinations import COMPONENTS, OVERLAYS, parse, render

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/operations.md").read_text()


def test_every_component_and_overlay_is_explained() -> None:
    assert re.findall(r"^\| `([a-z-]+)` \|", TEXT.split("## Deploy")[0], re.MULTILINE) and set(COMPONENTS) == set(
        re.findall(r"^\| `([a-z-]+)` \|", TEXT.split("## Deploy")[0], re.MULTILINE)
    )
    for overlay in OVERLAYS:
        assert overlay in TEXT


def test_commands_name_objects_that_exist(tmp_path: Path) -> None:
    objects = parse(render("k8s", tmp_path))
    named = set(re.findall(r"deployment/([a-z-]+)", TEXT))
    assert {"flask-api", "nginx-server", "streamlit-ui"} <= named
    assert named <= {name for kind, name in objects if kind == "Deployment"}


def test_files_and_settings_that_it_names_exist() -> None:
    for path in set(re.findall(r"\bk8s/[a-z0-9/._-]+[a-z0-9]", TEXT)):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", TEXT):
        assert (ROOT / "docs" / link).exists(), link
    source = "\n".join(
        path.read_text()
        for folder in ("flask_app", "nginx", "k8s", "streamlit_app")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix in {".py", ".sh", ".template", ".yaml", ".env"}
    )
    compose = (ROOT / "docker-compose.yaml").read_text()
    settings = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", TEXT))
    assert "CANARY_PERCENT" in settings
    for setting in settings:
        assert re.search(rf"\b({setting}|{setting.lower()})\b", source + compose), setting


def test_workers_are_as_many_as_it_says() -> None:
    deployment = yaml.safe_load((ROOT / "k8s/base/flask-api/deployment.yaml").read_text())
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert f"`limits.cpu: {container['resources']['limits']['cpu']}` are two workers" in TEXT


def test_autoscalers_start_where_the_measured_cost_says() -> None:
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
