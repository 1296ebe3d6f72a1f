"""Every container of every workload is hardened, bounded and probed."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.manifests.combinations import parse, workloads_of

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
RESOURCES = ("cpu", "memory", "ephemeral-storage")


def pod_spec(workload: dict[str, Any]) -> dict[str, Any]:
    if workload["kind"] == "CronJob":
        workload = workload["spec"]["jobTemplate"]
    return workload["spec"]["template"]["spec"]


def identity(context: dict[str, Any]) -> Iterator[str]:
    """Return user and group of a pod's or a container's securityContext."""
    if context.get("runAsNonRoot") is not True:
        yield "runAsNonRoot"
    for field in ("runAsUser", "runAsGroup"):
        # A number: the kubelet cannot verify that a user name of the image is not root (opa#1267).
        if not isinstance(context.get(field), int) or context[field] == 0:
            yield field
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccompProfile"


def container_violations(container: dict[str, Any], spec: dict[str, Any], *, serves: bool) -> Iterator[str]:
    context = container.get("securityContext", {})
    yield from identity(context)
    for field, wanted in (("allowPrivilegeEscalation", False), ("readOnlyRootFilesystem", True)):
        if context.get(field) is not wanted:
            yield field
    if context.get("privileged", False):
        yield "privileged"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities"

    for bound in ("requests", "limits"):
        for resource in RESOURCES:
            if resource not in container.get("resources", {}).get(bound, {}):
                yield f"resources.{bound}.{resource}"

    tag = container["image"].rpartition("/")[2].partition(":")[2]
    if tag in {"", "latest"}:
        yield "image tag"
    # Always would ask a registry for images that exist only in the cluster.
    if container.get("imagePullPolicy") != "IfNotPresent":
        yield "imagePullPolicy"

    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        volume = volumes[mount["name"]]
        if "hostPath" in volume:
            yield "hostPath"
        elif "emptyDir" in volume:
            if "sizeLimit" not in volume["emptyDir"]:
                yield "sizeLimit"
        elif "persistentVolumeClaim" not in volume and mount.get("readOnly") is not True:
            yield "readOnly"

    if serves:
        for probe in PROBES:
            if probe not in container:
                yield probe
            elif not isinstance(container[probe].get("httpGet", {}).get("port"), str):
                yield f"{probe} by the port's name"
        patience = {
            probe: container.get(probe, {}).get("periodSeconds", 10)
            * container.get(probe, {}).get("failureThreshold", 3)
            for probe in PROBES
        }
        if patience["livenessProbe"] < 60:
            yield "livenessProbe lenient"
        if patience["readinessProbe"] > 15:
            yield "readinessProbe strict"
        if "preStop" not in container.get("lifecycle", {}):
            yield "preStop"


def deployment_violations(deployment: dict[str, Any]) -> Iterator[str]:
    spec = deployment["template"]["spec"]
    for field in ("minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit"):
        if not deployment.get(field):
            yield field
    if deployment.get("strategy") == {"type": "Recreate"}:
        # Only for a pod that must not run twice, even briefly; serving pods may.
        if deployment.get("replicas") != 1 or spec.get("priorityClassName"):
            yield "Recreate"
        return
    if deployment.get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0:
        yield "maxUnavailable"
    if not spec.get("priorityClassName"):
        yield "priorityClassName"
    if [c["whenUnsatisfiable"] for c in spec.get("topologySpreadConstraints", [])] != ["ScheduleAnyway"]:
        yield "topologySpreadConstraints"


def cron_job_violations(cron_job: dict[str, Any]) -> Iterator[str]:
    job = cron_job["jobTemplate"]["spec"]
    if cron_job.get("concurrencyPolicy") != "Forbid":
        yield "concurrencyPolicy"
    # Without it, 100 missed starts stop the CronJob for ever (kubernetes#42649).
    for field in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit", "timeZone"):
        if not cron_job.get(field):
            yield field
    for field in ("activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        if not job.get(field):
            yield field
    if not 0 <= job.get("backoffLimit", 6) <= 2:
        yield "backoffLimit"
    # podFailurePolicy requires it.
    if job["template"]["spec"].get("restartPolicy") != "Never":
        yield "restartPolicy"
    # Must not have priority over serving pods.
    if job["template"]["spec"].get("priorityClassName"):
        yield "priorityClassName"


def violations(workload: dict[str, Any]) -> list[str]:
    """Return the rules that a workload violates."""
    spec = pod_spec(workload)
    found = list(identity(spec.get("securityContext", {})))
    for field in ("automountServiceAccountToken", "enableServiceLinks"):
        if spec.get(field) is not False:
            found.append(field)
    found += [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    for container in spec["containers"]:
        found += container_violations(container, spec, serves=workload["kind"] == "Deployment")
    for container in spec.get("initContainers", []):
        found += container_violations(container, spec, serves=False)
    if not spec.get("serviceAccountName"):
        found.append("serviceAccountName")
    if not spec.get("terminationGracePeriodSeconds"):
        found.append("terminationGracePeriodSeconds")
    if workload["kind"] == "Deployment":
        found += deployment_violations(workload["spec"])
    if workload["kind"] == "CronJob":
        found += cron_job_violations(workload["spec"])
    return found


def test_every_workload_keeps_the_policy(combination):
    found = {name: violations(workload) for name, workload in workloads_of(combination).items()}
    assert len(found) >= 3
    assert {name: what for name, what in found.items() if what} == {}


def test_the_namespace_rejects_weaker_pods(objects):
    labels = objects["Namespace", "iris"]["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


def _change(workload: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a path below the spec; None removes it."""
    parent: Any = workload["spec"]
    *steps, last = path.split(".")
    for step in steps:
        parent = parent[int(step)] if isinstance(parent, list) else parent[step]
    key = int(last) if isinstance(parent, list) else last
    if value is None:
        del parent[key]
    else:
        parent[key] = value


POD = "template.spec"
CONTAINER = "template.spec.containers.0"


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        *[
            (f"{level}.securityContext.{field}", value, field)
            for level in (POD, CONTAINER)
            for field, value in [
                ("runAsNonRoot", None),
                ("runAsUser", 0),
                ("runAsUser", None),
                ("runAsGroup", "app"),
                ("seccompProfile", {"type": "Unconfined"}),
            ]
        ],
        (f"{CONTAINER}.securityContext", None, "readOnlyRootFilesystem"),
        (f"{CONTAINER}.securityContext.allowPrivilegeEscalation", True, "allowPrivilegeEscalation"),
        (f"{CONTAINER}.securityContext.readOnlyRootFilesystem", None, "readOnlyRootFilesystem"),
        (f"{CONTAINER}.securityContext.privileged", True, "privileged"),
        (f"{CONTAINER}.securityContext.capabilities", {"drop": ["ALL"], "add": ["NET_RAW"]}, "capabilities"),
        (f"{CONTAINER}.resources.requests.memory", None, "resources.requests.memory"),
        (f"{CONTAINER}.resources.limits.ephemeral-storage", None, "resources.limits.ephemeral-storage"),
        (f"{CONTAINER}.image", "flask-api", "image tag"),
        (f"{CONTAINER}.image", "registry:5000/flask-api:latest", "image tag"),
        (f"{CONTAINER}.imagePullPolicy", "Always", "imagePullPolicy"),
        *[(f"{CONTAINER}.{probe}", None, probe) for probe in PROBES],
        (f"{CONTAINER}.readinessProbe.httpGet.port", 5000, "readinessProbe by the port's name"),
        (f"{CONTAINER}.livenessProbe.failureThreshold", 1, "livenessProbe lenient"),
        (f"{CONTAINER}.readinessProbe.periodSeconds", 60, "readinessProbe strict"),
        (f"{CONTAINER}.lifecycle", None, "preStop"),
        (f"{POD}.volumes.0", {"name": "tmp", "hostPath": {"path": "/tmp"}}, "hostPath"),
        (f"{POD}.volumes.0", {"name": "tmp", "emptyDir": {}}, "sizeLimit"),
        (f"{POD}.volumes.0", {"name": "tmp", "secret": {"secretName": "a"}}, "readOnly"),
        (f"{POD}.automountServiceAccountToken", None, "automountServiceAccountToken"),
        (f"{POD}.enableServiceLinks", True, "enableServiceLinks"),
        (f"{POD}.hostNetwork", True, "hostNetwork"),
        (f"{POD}.hostPID", True, "hostPID"),
        (f"{POD}.terminationGracePeriodSeconds", None, "terminationGracePeriodSeconds"),
        (f"{POD}.topologySpreadConstraints", None, "topologySpreadConstraints"),
        ("strategy.rollingUpdate.maxUnavailable", 1, "maxUnavailable"),
        ("minReadySeconds", 0, "minReadySeconds"),
        ("progressDeadlineSeconds", None, "progressDeadlineSeconds"),
        ("revisionHistoryLimit", None, "revisionHistoryLimit"),
    ],
)
def test_the_policy_notices(workloads, path, value, complaint):
    """Test the checker itself: it reports each violated rule (None removes the field)."""
    broken = copy.deepcopy(workloads["flask-api"])
    _change(broken, path, value)
    assert complaint in violations(broken)


def test_the_policy_sees_every_container(workloads):
    for kind in ("containers", "initContainers"):
        broken = copy.deepcopy(workloads["flask-api"])
        pod_spec(broken).setdefault(kind, []).append({"name": "sidecar", "image": "sidecar:1.0.0"})
        assert "readOnlyRootFilesystem" in violations(broken)


JOB = "jobTemplate.spec"


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("concurrencyPolicy", "Allow", "concurrencyPolicy"),
        ("startingDeadlineSeconds", None, "startingDeadlineSeconds"),
        ("timeZone", None, "timeZone"),
        (f"{JOB}.activeDeadlineSeconds", None, "activeDeadlineSeconds"),
        (f"{JOB}.backoffLimit", None, "backoffLimit"),
        (f"{JOB}.{POD}.restartPolicy", "OnFailure", "restartPolicy"),
        (f"{JOB}.{POD}.serviceAccountName", None, "serviceAccountName"),
        (f"{JOB}.{CONTAINER}.securityContext", None, "readOnlyRootFilesystem"),
    ],
)
def test_the_policy_notices_in_a_cron_job(rendered, path, value, complaint):
    broken = workloads_of(parse(rendered("k8s+model-store+retraining")))["retraining"]
    assert violations(broken) == []
    _change(broken, path, value)
    assert complaint in violations(broken)


def test_serving_is_never_stopped_to_be_replaced(workloads):
    broken = copy.deepcopy(workloads["flask-api"])
    broken["spec"]["strategy"] = {"type": "Recreate"}
    assert "Recreate" in violations(broken)
