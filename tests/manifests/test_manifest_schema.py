"""Every combination is valid for the oldest supported Kubernetes and for the newest known one.

Custom resources are held against the schemas of their own projects, in crds/.
"""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OLDEST = "1.28"
NEWEST = ".".join(kubernetes_validate.latest_version().split(".")[:2])
CRDS = {
    (crd["apiVersion"], crd["kind"]): crd["schema"]
    for crd in (json.loads(path.read_text()) for path in sorted((ROOT / "tests/manifests/crds").glob("*.json")))
}


# Cached: it reads megabytes of definitions for every object.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)
kubernetes_validate.utils.all_versions = cache(kubernetes_validate.utils.all_versions)


def closed(schema: Any) -> Any:
    """Return the schema, with unknown fields as errors, as `kubectl apply` does by default."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {
        # Names of fields, not keywords of JSON Schema.
        key: {name: closed(field) for name, field in value.items()} if key == "properties" else closed(value)
        for key, value in schema.items()
    }
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner.setdefault("additionalProperties", False)
    return inner


def validate(document: dict[str, Any], version: str) -> None:
    schema = CRDS.get((document["apiVersion"], document["kind"]))
    if schema is None:
        kubernetes_validate.validate(document, version, strict=True)
        return
    top = closed(schema)
    # The API server validates metadata itself.
    top["properties"]["metadata"] = {"type": "object"}
    jsonschema.Draft202012Validator(top).validate(document)


@pytest.fixture(scope="module")
def valid() -> set[tuple[str, str]]:
    """Versions and objects that were valid: most combinations share most objects."""
    return set()


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_valid(combination, version, valid):
    for document in combination.values():
        key = (version, json.dumps(document, sort_keys=True))
        if key not in valid:
            validate(document, version)
            valid.add(key)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_a_misspelt_field_is_found(objects, version):
    document = copy.deepcopy(objects["Deployment", "flask-api"])
    document["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(document, version)


@pytest.mark.parametrize(
    ("combination_name", "key", "path"),
    [
        ("k8s+autoscaling-keda", ("ScaledObject", "flask-api"), ("spec", "fallback")),
        ("k8s+gateway", ("HTTPRoute", "nginx-server"), ("spec", "rules", 0, "backendRefs", 0)),
        ("k8s+tls-cert-manager", ("Certificate", "nginx-certs"), ("spec", "privateKey")),
        ("k8s+tls-cert-manager", ("Issuer", "iris"), ("spec",)),
    ],
)
def test_a_misspelt_field_of_a_custom_resource_is_found(rendered, combination_name, key, path):
    [document] = [
        d for d in yaml.safe_load_all(rendered(combination_name)) if (d["kind"], d["metadata"]["name"]) == key
    ]
    validate(document, NEWEST)
    inside = document
    for step in path:
        inside = inside[step]
    inside["mispelt"] = 1
    with pytest.raises(jsonschema.ValidationError, match="mispelt"):
        validate(document, NEWEST)


def test_every_file_is_reached():
    """A manifest that no kustomization lists is never applied."""
    named = set()
    for path in sorted((ROOT / "k8s").rglob("kustomization.yaml")):
        kustomization = yaml.safe_load(path.read_text())
        listed = [
            *kustomization.get("resources", []),
            *[p["path"] for p in kustomization.get("patches", []) if "path" in p],
        ]
        named |= {(path.parent / name).resolve() for name in listed}
    files = {path for path in (ROOT / "k8s").rglob("*.y*ml") if path.name != "kustomization.yaml"}
    assert files - named == set()


def test_one_file_a_resource():
    """A file contains one object, and its name ends with the kind."""
    for path in sorted((ROOT / "k8s").rglob("*.yaml")):
        if path.name in {"kustomization.yaml", "resources.yaml"}:
            continue
        (document,) = yaml.safe_load_all(path.read_text())
        kind, name = document["kind"].lower(), document["metadata"]["name"]
        assert path.name in {f"{kind}.yaml", f"{name}-{kind}.yaml"}, path
        if path.name == f"{kind}.yaml" and kind not in {"namespace", "priorityclass"}:
            assert path.parent.name == name
