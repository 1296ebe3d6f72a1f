"""The components that train: their needs, their network policies, and the end of a training."""

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from model_training.configuration import Configuration
from model_training.train import REJECTED, USAGE
from tests.manifests.combinations import NEEDS, Objects, kustomize, parse, run_kustomize, workloads_of, write_overlay

ROOT = Path(__file__).resolve().parents[2]
TRAINING = "k8s+model-store+retraining+training-service"
ALL = "k8s+shadow+model-store+retraining+training-service+registry+network-policies"


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    """Return the template of its pods."""
    job = workload["spec"]["jobTemplate"] if workload["kind"] == "CronJob" else workload
    return job["spec"]["template"]


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod(workload)["spec"]["containers"]
    return only


def environment(container: dict[str, Any]) -> dict[str, Any]:
    """Return name -> value, or its source."""
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in container["env"]}


def volumes(workload: dict[str, Any], container: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Return mount path -> (claim, Secret or ConfigMap; is it writable)."""
    kinds = {"persistentVolumeClaim": "claimName", "secret": "secretName", "configMap": "name"}
    named = {
        volume["name"]: volume[kind][key]
        for volume in pod(workload)["spec"]["volumes"]
        for kind, key in kinds.items()
        if kind in volume
    }
    return {
        mount["mountPath"]: (named[mount["name"]], not mount.get("readOnly", False))
        for mount in container["volumeMounts"]
        if mount["name"] in named
    }


@pytest.fixture(scope="module")
def trained(rendered: Callable[[str], str]) -> Objects:
    """The base with all training components, and the volume as registry."""
    return parse(rendered(TRAINING))


@pytest.fixture(scope="module")
def everything(rendered: Callable[[str], str]) -> Objects:
    return parse(rendered(ALL))


# The volume of models


@pytest.mark.parametrize("component", NEEDS)
def test_without_its_volume_a_component_is_not_applied(tmp_path: Path, component: str) -> None:
    """Otherwise pods wait for ever for a missing claim."""
    run = run_kustomize(write_overlay(tmp_path, "k8s", [component]))
    assert run.returncode != 0 and "PersistentVolumeClaim.v1.[noGrp]/models" in run.stderr


def test_the_api_serves_from_the_volume_and_only_reads_it(trained: Objects) -> None:
    api = trained["Deployment", "flask-api"]
    assert environment(container(api))["MODEL_STORE"] == "/models"
    assert volumes(api, container(api)) == {"/models": ("models", False)}


def test_the_api_can_cache_models_of_the_registry(everything: Objects) -> None:
    api = everything["Deployment", "flask-api"]
    assert volumes(api, container(api)) == {"/models": ("models", True)}
    # The base's values are still present.
    assert container(api)["envFrom"][0]["configMapRef"]["name"].startswith("iris-config-")


def test_a_new_volume_begins_with_the_model_of_the_image(trained: Objects) -> None:
    api = trained["Deployment", "flask-api"]
    (first,) = pod(api)["spec"]["initContainers"]
    assert first["image"] == container(api)["image"]
    image = re.search(r"^\s+MODEL_STORE=(\S+)", (ROOT / "Dockerfile.flask-api").read_text(), re.MULTILINE)
    assert image and first["command"] == ["python", "-m", "model_artifact.commands.store", "seed", image[1]]
    assert environment(first)["MODEL_STORE"] == "/models"
    assert volumes(api, first) == {"/models": ("models", True)}
    # Otherwise an unsigned model would be current where the API rejects it.
    assert environment(first)["MODEL_PUBLIC_KEY"] == environment(container(api))["MODEL_PUBLIC_KEY"]


def test_every_pod_with_the_volume_has_its_group(everything: Objects) -> None:
    users = {
        name: pod(workload)["spec"]
        for name, workload in workloads_of(everything).items()
        if any("persistentVolumeClaim" in volume for volume in pod(workload)["spec"]["volumes"])
    }
    assert users.keys() == {"flask-api", "flask-api-shadow", "retraining", "training-api"}
    for spec in users.values():
        context = spec["securityContext"]
        assert context["fsGroup"] == context["runAsUser"] == 10001
        assert context["fsGroupChangePolicy"] == "OnRootMismatch"


def test_every_claim_exists(everything: Objects) -> None:
    claimed = {
        volume["persistentVolumeClaim"]["claimName"]
        for workload in workloads_of(everything).values()
        for volume in pod(workload)["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claimed == {name for kind, name in everything if kind == "PersistentVolumeClaim"}


def test_the_shadow_is_compared_to_the_volume_s_champion(everything: Objects) -> None:
    shadow = everything["Deployment", "flask-api-shadow"]
    assert volumes(shadow, container(shadow)) == {environment(container(shadow))["SHADOW_OF"]: ("models", False)}
    assert not pod(shadow)["spec"].get("initContainers")


def test_challengers_serve_the_model_of_their_image(rendered: Callable[[str], str]) -> None:
    objects = parse(rendered("k8s+canary+shadow+model-store"))
    for name in ("flask-api-canary", "flask-api-shadow"):
        assert "MODEL_STORE" not in environment(container(objects["Deployment", name]))


def advice(component: str) -> list[dict[str, Any]]:
    """Return the patches for an overlay in the comment at the top of a component."""
    comment = (ROOT / f"k8s/components/{component}/kustomization.yaml").read_text()
    block = re.search(r"^#   patches:\n(?:#    .*\n)+", comment, re.MULTILINE)
    assert block
    return yaml.safe_load(re.sub(r"^#   ", "", block[0], flags=re.MULTILINE))["patches"]


def test_an_overlay_for_several_nodes(tmp_path: Path) -> None:
    overlay = write_overlay(tmp_path, "k8s", ["model-store"], patches=advice("model-store"))
    spec = parse(kustomize(overlay))["PersistentVolumeClaim", "models"]["spec"]
    assert (spec["accessModes"], spec["storageClassName"]) == (["ReadWriteMany"], "YOURS")


@pytest.mark.parametrize("name", ["staging", "production"])
def test_an_overlay_names_the_registry_of_every_image(name: str, tmp_path: Path) -> None:
    """In the overlay itself, where an operator lists components, its images are renamed with all others."""
    overlay = ROOT / f"k8s/overlays/{name}"
    written = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    written["resources"] = [os.path.relpath(ROOT / "k8s/base", tmp_path)]
    added = ["model-store", "retraining", "training-service", "registry"]
    listed = [path.rpartition("/")[2] for path in written["components"]]
    written["components"] = [os.path.relpath(ROOT / "k8s/components" / part, tmp_path) for part in [*listed, *added]]
    written["patches"] = [patch for patch in written["patches"] if "path" not in patch]
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(written))
    for workload in workloads_of(parse(kustomize(tmp_path))).values():
        spec = pod(workload)["spec"]
        for found in [*spec["containers"], *spec.get("initContainers", [])]:
            assert found["image"].startswith("registry.example.com/iris/"), found["image"]


# Retraining


def test_training_accepts_the_configuration_file(trained: Objects) -> None:
    (config,) = [
        document["data"]
        for (kind, name), document in trained.items()
        if kind == "ConfigMap" and name.startswith("retraining-config-")
    ]
    job = trained["CronJob", "retraining"]
    assert container(job)["command"][-1] == f"/config/{next(iter(config))}"
    assert msgspec.convert(tomllib.loads(config["training.toml"]), Configuration).data == "iris"
    places = volumes(job, container(job))
    assert places["/models"] == ("models", True)
    assert places["/data"] == ("training-data", False)
    assert places["/config"][0].startswith("retraining-config-")


def test_an_overlay_with_its_own_configuration_and_time(tmp_path: Path) -> None:
    overlay = write_overlay(tmp_path, "k8s", ["model-store", "retraining"], patches=advice("retraining"))
    objects = parse(kustomize(overlay))
    job = objects["CronJob", "retraining"]
    assert job["spec"]["schedule"] == "0 1 * * 6"
    config = objects["ConfigMap", volumes(job, container(job))["/config"][0]]["data"]["training.toml"]
    assert msgspec.convert(tomllib.loads(config), Configuration).data == "/data/table.csv"


def test_a_rejected_model_fails_the_job_at_once(trained: Objects) -> None:
    job = trained["CronJob", "retraining"]["spec"]["jobTemplate"]["spec"]
    disruption, final = job["podFailurePolicy"]["rules"]
    # First, since a drained pod also has an exit status.
    assert disruption["action"] == "Ignore" and disruption["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert final["action"] == "FailJob"
    exits = final["onExitCodes"]
    assert exits["containerName"] == container(trained["CronJob", "retraining"])["name"]
    # A temporary failure, status 1, is tried again.
    assert (exits["operator"], exits["values"]) == ("In", [USAGE, REJECTED])


def test_the_attempts_fit_into_the_deadline(trained: Objects) -> None:
    spec = trained["CronJob", "retraining"]["spec"]
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 24 * 3600
    assert spec["startingDeadlineSeconds"] < 24 * 3600


# The training service


def test_the_ui_knows_the_training_service(trained: Objects) -> None:
    (port,) = trained["Service", "training-api"]["spec"]["ports"]
    address = environment(container(trained["Deployment", "streamlit-ui"]))["TRAINING_API_URL"]
    assert address == f"http://training-api:{port['port']}"


def test_it_is_not_reachable_from_outside(everything: Objects) -> None:
    assert everything["Service", "training-api"]["spec"]["type"] == "ClusterIP"
    assert everything["Service", "mlflow-server"]["spec"]["type"] == "ClusterIP"
    nginx = yaml.safe_dump(pod(everything["Deployment", "nginx-server"]))
    files = [ROOT / "nginx/render.sh", *(ROOT / "nginx").rglob("*.template")]
    routes = "".join(path.read_text() for path in files)
    for part in ("training-api", "5001", "mlflow", "5002"):
        assert part not in nginx and part not in routes


def test_the_admin_token_is_a_file_of_a_secret_that_must_exist(trained: Objects) -> None:
    service = trained["Deployment", "training-api"]
    assert environment(container(service))["ADMIN_TOKEN_FILE"] == "/admin/token"
    (volume,) = [v for v in pod(service)["spec"]["volumes"] if v["name"] == "admin"]
    assert volume["secret"] == {"secretName": "training-admin", "defaultMode": 0o440}
    assert volumes(service, container(service))["/admin"] == ("training-admin", False)


def test_a_job_reaches_its_memory_limit_before_the_container(trained: Objects) -> None:
    service = container(trained["Deployment", "training-api"])
    limit = re.fullmatch(r"(\d+)Gi", service["resources"]["limits"]["memory"])
    needed = int(environment(service)["JOB_MEMORY_MB"]) + 2 * int(environment(service)["INSPECT_MEMORY_MB"]) + 256
    assert limit and int(limit[1]) * 1024 >= needed


@pytest.mark.parametrize("name", ["training-api", "mlflow-server"])
def test_grace_periods_add_up(everything: Objects, name: str) -> None:
    workload = everything["Deployment", name]
    wait = int(container(workload)["lifecycle"]["preStop"]["exec"]["command"][-1])
    finish = int(environment(container(workload)).get("GRACEFUL_TIMEOUT_SECONDS", 0))
    grace = pod(workload)["spec"]["terminationGracePeriodSeconds"]
    assert wait + finish + 5 <= grace
    row = rf"\| `{name}` \| {wait} s \| [^|]+ \| {wait + finish} s \| {grace} s \|"
    assert re.search(row, (ROOT / "docs/operations.md").read_text()), row


# Secrets and the registry


@pytest.mark.parametrize("name", ["retraining", "training-api"])
def test_training_signs_where_there_is_a_key(everything: Objects, name: str) -> None:
    workload = workloads_of(everything)[name]
    variables = environment(container(workload))
    for variable, key in (("MODEL_SIGN_KEY", "MODEL_SIGN_KEY"), ("MODEL_PUBLIC_KEY", "signing.pub")):
        assert variables[variable]["secretKeyRef"] == {"name": "model-signing", "key": key, "optional": True}
    (volume,) = [v for v in pod(workload)["spec"]["volumes"] if v["name"] == "signing"]
    assert volume["secret"] == {"secretName": "model-signing", "defaultMode": 0o440, "optional": True}


def test_the_api_never_sees_the_private_key(everything: Objects) -> None:
    for name in ("flask-api", "flask-api-shadow", "streamlit-ui", "nginx-server", "mlflow-server"):
        text = yaml.safe_dump(pod(everything["Deployment", name]))
        assert "MODEL_SIGN_KEY" not in text and "secretName: model-signing" not in text


@pytest.mark.parametrize("name", ["flask-api", "retraining", "training-api"])
def test_clients_of_the_registry_have_its_address(everything: Objects, name: str) -> None:
    *_, settings, secret = container(workloads_of(everything)[name])["envFrom"]
    (port,) = everything["Service", "mlflow-server"]["spec"]["ports"]
    address = everything["ConfigMap", settings["configMapRef"]["name"]]["data"]["MLFLOW_TRACKING_URI"]
    assert address == f"http://mlflow-server:{port['port']}"
    assert secret == {"secretRef": {"name": "registry-client", "optional": True}}
    # MLflow rejects unknown host names.
    mlflow = next(d["data"] for (kind, n), d in everything.items() if kind == "ConfigMap" and n.startswith("mlflow-"))
    assert address.removeprefix("http://") in mlflow["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")


@pytest.mark.parametrize("name", ["retraining", "training-api"])
def test_without_the_registry_nothing_is_missing(trained: Objects, name: str) -> None:
    for source in container(workloads_of(trained)[name])["envFrom"]:
        (reference,) = source.values()
        assert reference == {"name": "registry-client", "optional": True}


def test_mlflows_storage_is_in_a_secret_that_must_exist(everything: Objects) -> None:
    server = everything["Deployment", "mlflow-server"]
    (tables,) = pod(server)["spec"]["initContainers"]
    for found in (container(server), tables):
        uri = environment(found)["MLFLOW_BACKEND_STORE_URI"]["secretKeyRef"]
        assert uri == {"name": "mlflow-storage", "key": "MLFLOW_BACKEND_STORE_URI"}
    # The Secret last: it overrides the ConfigMap.
    settings, secret = container(server)["envFrom"]
    assert secret == {"secretRef": {"name": "mlflow-storage"}}
    public = everything["ConfigMap", settings["configMapRef"]["name"]]["data"]
    comment = (ROOT / "k8s/components/registry/kustomization.yaml").read_text()
    keys = set(re.findall(r"--from-literal=([A-Z0-9_]+)=", comment))
    assert "MLFLOW_BACKEND_STORE_URI" in keys and not keys & public.keys()


# Network policies


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def _admits(rules: list[dict[str, Any]], side: str, other: dict[str, str], port: int) -> bool:
    for rule in rules:
        ports = [entry["port"] for entry in rule.get("ports", []) if entry["protocol"] == "TCP"]
        peers = rule.get(side)
        here = [peer["podSelector"] for peer in peers or [] if peer.keys() == {"podSelector"}]
        if port in ports and (peers is None or any(_selects(selector, other) for selector in here)):
            return True
    return False


def may_call(objects: Objects, caller: str, called: str, port: int) -> bool:
    """Return whether the policies allow a call between two pods of the namespace."""
    workloads = workloads_of(objects)
    labels = {name: pod(workloads[name])["metadata"]["labels"] for name in (caller, called)}
    policies = [document["spec"] for (kind, _), document in objects.items() if kind == "NetworkPolicy"]
    for name, other, direction, side in ((caller, called, "Egress", "to"), (called, caller, "Ingress", "from")):
        chosen = [
            policy
            for policy in policies
            if direction in policy["policyTypes"] and _selects(policy["podSelector"], labels[name])
        ]
        rules = [rule for policy in chosen for rule in policy.get(direction.lower(), [])]
        if chosen and not _admits(rules, side, labels[other], port):
            return False
    return True


PORTS = {"flask-api": 5000, "streamlit-ui": 8501, "training-api": 5001, "mlflow-server": 5002, "retraining": 5001}
CALLS = {
    ("nginx-server", "flask-api"),
    ("nginx-server", "flask-api-shadow"),
    ("nginx-server", "streamlit-ui"),
    ("streamlit-ui", "flask-api"),
    ("streamlit-ui", "training-api"),
    ("flask-api", "mlflow-server"),
    ("retraining", "mlflow-server"),
    ("training-api", "mlflow-server"),
}


def test_policies_allow_the_necessary_calls_only(everything: Objects) -> None:
    names = workloads_of(everything).keys()
    ports = PORTS | {"flask-api-shadow": 5000, "nginx-server": 8443}
    found = {(a, b) for a in names for b in names if a != b and may_call(everything, a, b, ports[b])}
    # Nginx accepts every client, but no pod of the stack may call it.
    assert found == CALLS


def test_the_training_service_and_mlflow_have_policies_of_their_own(rendered: Callable[[str], str]) -> None:
    objects = parse(rendered(ALL.removesuffix("+network-policies").replace("+shadow", "")))
    for called, port in (("training-api", 5001), ("mlflow-server", 5002), ("retraining", 5001)):
        callers = {name for name in workloads_of(objects) if name != called and may_call(objects, name, called, port)}
        assert callers == {caller for caller, name in CALLS if name == called}
    assert may_call(objects, "streamlit-ui", "flask-api", 5000)


def test_the_api_alone_makes_no_calls(rendered: Callable[[str], str]) -> None:
    """Without the registry, its pod has no egress, DNS included."""
    objects = parse(rendered("k8s+network-policies"))
    labels = pod(objects["Deployment", "flask-api"])["metadata"]["labels"]
    ways = [
        rule
        for (kind, _), document in objects.items()
        if kind == "NetworkPolicy" and _selects(document["spec"]["podSelector"], labels)
        for rule in document["spec"].get("egress", [])
    ]
    assert ways == []


def test_mlflow_reaches_its_storage_and_dns(everything: Objects) -> None:
    labels = pod(everything["Deployment", "mlflow-server"])["metadata"]["labels"]
    ways = {
        entry["port"]
        for (kind, _), document in everything.items()
        if kind == "NetworkPolicy" and _selects(document["spec"]["podSelector"], labels)
        for rule in document["spec"].get("egress", [])
        for entry in rule["ports"]
    }
    assert {53, 443, 5432} <= ways
