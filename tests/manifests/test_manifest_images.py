"""The components that train agree with the images they run, with Compose and with the code."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.combinations import Objects, parse, workloads_of
from training_service.settings import TrainingServiceSettings

ROOT = Path(__file__).resolve().parents[2]
IMAGES = {"retraining": "model-training", "training-api": "model-training", "mlflow-server": "mlflow-server"}
# The job that the service starts, or a library, reads these.
OF_JOBS = {"MODEL_SIGN_KEY", "OMP_NUM_THREADS"}


@pytest.fixture(scope="module")
def objects(rendered: Callable[[str], str]) -> Objects:
    return parse(rendered("k8s+model-store+retraining+training-service+registry"))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]


def _pod(objects: Objects, name: str) -> dict[str, Any]:
    workload = workloads_of(objects)[name]
    job = workload["spec"]["jobTemplate"] if workload["kind"] == "CronJob" else workload
    return job["spec"]["template"]["spec"]


def _container(objects: Objects, name: str) -> dict[str, Any]:
    (only,) = _pod(objects, name)["containers"]
    assert only["name"] == name
    return only


def _dockerfile(name: str) -> str:
    return (ROOT / f"Dockerfile.{IMAGES[name]}").read_text()


def _command(name: str) -> list[str]:
    """Return the image's own command."""
    return json.loads(re.findall(r"^CMD (.+)$", _dockerfile(name), re.MULTILINE)[-1])


@pytest.mark.parametrize("name", IMAGES)
def test_image_and_user(objects: Objects, name: str) -> None:
    assert _container(objects, name)["image"] == f"{IMAGES[name]}:1.0.0"
    [(user, group)] = re.findall(r"^USER (\d+):(\d+)$", _dockerfile(name), re.MULTILINE)
    for context in (_pod(objects, name)["securityContext"], _container(objects, name)["securityContext"]):
        assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))


@pytest.mark.parametrize("name", ["training-api", "mlflow-server"])
def test_name_and_port(objects: Objects, compose: dict[str, Any], name: str) -> None:
    [port] = re.findall(r"^EXPOSE (\d+)$", _dockerfile(name), re.MULTILINE)
    assert _container(objects, name)["ports"] == [{"name": "http", "containerPort": int(port)}]
    (service,) = objects["Service", name]["spec"]["ports"]
    assert (service["port"], service["targetPort"]) == (int(port), "http")
    assert compose[name]["image"] == IMAGES[name]
    assert [published.rpartition(":")[2] for published in compose[name]["ports"]] == [port]
    # The cluster does not override the image's command.
    assert "command" not in _container(objects, name) and "args" not in _container(objects, name)


def test_the_service_is_in_its_image() -> None:
    gunicorn, option, settings, application = _command("training-api")
    assert (gunicorn, option) == ("gunicorn", "-c")
    for path in (settings, application.partition(":")[0].replace(".", "/") + ".py"):
        assert (ROOT / path).is_file()


def test_mlflow_listens_on_the_configured_address() -> None:
    assert _command("mlflow-server") == ["mlflow", "server"]
    assert dict(re.findall(r"\b(MLFLOW_HOST|MLFLOW_PORT)=(\S+)", _dockerfile("mlflow-server"))) == {
        "MLFLOW_HOST": "0.0.0.0",
        "MLFLOW_PORT": "5002",
    }


def test_every_setting_of_the_service_is_read(objects: Objects) -> None:
    known = {name.upper() for name in TrainingServiceSettings.__struct_fields__} | OF_JOBS
    given = {variable["name"] for variable in _container(objects, "training-api")["env"]}
    assert given - known == set()
    job = {variable["name"] for variable in _container(objects, "retraining")["env"]}
    assert job == {"MODEL_STORE", "OMP_NUM_THREADS", "MODEL_SIGN_KEY", "MODEL_PUBLIC_KEY"}
    command = (ROOT / "model_training/options.py").read_text()
    for name in ("MODEL_STORE", "MODEL_SIGN_KEY", "MODEL_PUBLIC_KEY"):
        assert f'os.environ.get("{name}"' in command


@pytest.mark.parametrize("name", ["JOB_SECONDS", "JOB_MEMORY_MB", "MAX_TABLE_BYTES", "GRACEFUL_TIMEOUT_SECONDS"])
def test_the_limits_are_the_defaults(objects: Objects, name: str) -> None:
    values = {v["name"]: v.get("value") for v in _container(objects, "training-api")["env"]}
    assert values[name] == str(getattr(TrainingServiceSettings(), name.lower()))


def test_folders_are_those_of_the_image(objects: Objects) -> None:
    image = dict(re.findall(r"\b(MODEL_STORE|TRAINING_DIR)=(\S+)", _dockerfile("training-api")))
    for name in ("retraining", "training-api"):
        values = {v["name"]: v.get("value") for v in _container(objects, name)["env"]}
        mounted = {mount["mountPath"] for mount in _container(objects, name)["volumeMounts"]}
        for variable, folder in image.items():
            if variable in values:
                assert values[variable] == folder and folder in mounted


@pytest.mark.parametrize("name", IMAGES)
def test_a_read_only_image_has_a_writable_folder(objects: Objects, name: str) -> None:
    assert re.search(r"\bHOME=/tmp\b", _dockerfile(name))
    assert "/tmp" in [mount["mountPath"] for mount in _container(objects, name)["volumeMounts"]]
