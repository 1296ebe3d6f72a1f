"""The manifests are valid for the oldest Kubernetes that is promised and for the newest that is known."""

import copy
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OLDEST = "1.28"
NEWEST = ".".join(kubernetes_validate.latest_version().split(".")[:2])


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_valid(objects, version):
    for document in objects.values():
        kubernetes_validate.validate(copy.deepcopy(document), version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_misspelt_field_is_found(objects, version):
    document = copy.deepcopy(objects["Deployment", "flask-api"])
    document["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, version, strict=True)


def test_every_file_is_reached():
    files = {path.name for path in (ROOT / "k8s").iterdir() if path.suffix in {".yaml", ".yml"}}
    reached = yaml.safe_load((ROOT / "k8s/kustomization.yaml").read_text())["resources"]
    assert sorted(reached) == sorted(files - {"kustomization.yaml"})


def test_one_file_a_resource(objects):
    """<name>-<kind>.yaml, so that an object is found by its name."""
    for kind, name in objects:
        stem = kind.lower() if kind in {"Namespace", "ConfigMap"} else f"{name}-{kind.lower()}"
        documents = list(yaml.safe_load_all((ROOT / f"k8s/{stem}.yaml").read_text()))
        assert [(document["kind"], document["metadata"]["name"]) for document in documents] == [(kind, name)]
