"""minikube-deploy.sh, step by step, with recording stand-ins for minikube, kubectl and curl.

Only the script's own decisions are under test here. Real are the files it hashes, the certificates it makes, and the
overlay, which the real kubectl renders. BASH_UNDER_TEST=/path/to/bash-3.2 runs it with macOS's version.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BASH = os.environ.get("BASH_UNDER_TEST") or shutil.which("bash")
# The sources of the images, and the manifests.
COPIED = [*re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE), "k8s"]
# Programs of the script except the tools it checks for.
COMMON_TOOLS = "awk cat chmod cut dirname env find grep mkdir mktemp mv rm sed sh sleep sort tail touch tr uname"

MINIKUBE = r"""
echo "minikube $*" >>"$STATE/calls"
[ "$1 $2" = "-p lab" ] || { echo "no profile named" >&2; exit 64; }
shift 2
case "$1 ${2-}" in
  "status "*) [ -e "$STATE/running" ] ;;
  "start "*) [ ! -e "$STATE/no-driver" ] && touch "$STATE/running" ;;
  "ip "*) echo 192.168.49.2 ;;
  "image ls") cat "$STATE/images" ;;
  "image rm") grep -vxF "$3" "$STATE/images" >"$STATE/kept" || true; mv "$STATE/kept" "$STATE/images" ;;
  "image build")
    shift 2
    while [ $# -gt 1 ]; do
      case $1 in -t) tag=$2 ;; -f) [ -f "$2" ] || exit 64 ;; esac
      shift
    done
    # As the real one: status 0 even when the build failed.
    [ -e "$STATE/broken-build" ] || echo "docker.io/library/$tag" >>"$STATE/images" ;;
  *) exit 64 ;;
esac
"""

KUBECTL = r"""
echo "kubectl $*" >>"$STATE/calls"
[ "$1 $2 $3 $4" = "--context lab -n iris" ] || { echo "no context named" >&2; exit 64; }
shift 4
case "$*" in
  "apply -k "*) "$REAL_KUBECTL" kustomize "$3" >"$STATE/applied.yaml" ;;
  "apply -f -") cat >/dev/null ;;
  "create secret tls "*) echo "kind: Secret" ;;
  "create secret generic streamlit-cookie "*) cat >"$STATE/cookie" ;;
  "get secret streamlit-cookie") [ -e "$STATE/cookie" ] ;;
  "create secret generic training-admin --from-file=token=/dev/stdin") cat >"$STATE/token" ;;
  "get secret training-admin") [ -e "$STATE/token" ] ;;
  "get secret mlflow-storage") [ -e "$STATE/storage" ] ;;
  "get service "*) echo 30443 ;;
  "get pods -o wide") echo "NAME READY" ;;
  "get pods -l "*) echo "${4##*=}-good True"; echo "${4##*=}-bad False" ;;
  "get events "*) echo "Warning BackOff" ;;
  "logs "*) echo "words of $2" ;;
  "rollout status "*) [ ! -e "$STATE/stuck" ] || [ "$3" != "deployment/$(cat "$STATE/stuck")" ] ;;
  "port-forward "*)
    echo $$ >"$STATE/forward.pid"
    echo "Forwarding from 127.0.0.1:40123 -> 8443"
    exec sleep 60 ;;
  "apply -f k8s/base/namespace.yaml" | "delete namespace iris "*) ;;
  *) exit 64 ;;
esac
"""

CURL = r"""
echo "curl $*" >>"$STATE/calls"
cat "$STATE/answer"
"""


@dataclass
class Lab:
    """A clone of the project with stand-ins on PATH."""

    clone: Path
    tools: Path
    state: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        (self.state / "calls").write_text("")
        environment = {
            "PATH": str(self.tools),
            "HOME": str(self.state),
            "STATE": str(self.state),
            "MINIKUBE_PROFILE": "lab",
            "REAL_KUBECTL": shutil.which("kubectl") or "",
        }
        return subprocess.run(
            [str(BASH), str(self.clone / "minikube-deploy.sh"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self, beginning: str) -> list[str]:
        return [call for call in (self.state / "calls").read_text().splitlines() if call.startswith(beginning)]

    def images(self) -> dict[str, str]:
        """Return name and tag of every applied container."""
        documents = yaml.safe_load_all((self.state / "applied.yaml").read_text())
        names = [
            d["spec"]["template"]["spec"]["containers"][0]["image"] for d in documents if d["kind"] == "Deployment"
        ]
        return dict(name.split(":") for name in names)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path)


@pytest.fixture(scope="module")
def first_deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a clone that was deployed. Shared: copy it."""
    folder = tmp_path_factory.mktemp("deployed")
    run = make_lab(folder).run()
    assert run.returncode == 0, run.stderr
    return folder


@pytest.fixture
def deployed(first_deployment: Path, tmp_path: Path) -> Lab:
    """A test's own copy of a deployed clone."""
    folder = shutil.copytree(first_deployment, tmp_path / "lab", symlinks=True)
    return Lab(folder / "clone", folder / "tools", folder / "state")


def make_lab(folder: Path) -> Lab:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is missing: https://kubernetes.io/docs/tasks/tools/")
    clone, tools, state = folder / "clone", folder / "tools", folder / "state"
    for made in (clone, tools, state):
        made.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, clone / name)
    for path in [*ROOT.glob("Dockerfile.*"), ROOT / ".dockerignore", ROOT / "minikube-deploy.sh"]:
        shutil.copy(path, clone)
    for name in (*COMMON_TOOLS.split(), "openssl"):
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    for name, text in (("minikube", MINIKUBE), ("kubectl", KUBECTL), ("curl", CURL)):
        (tools / name).write_text(f"#!/bin/sh\nset -eu\n{text}")
        (tools / name).chmod(0o755)
    (state / "images").write_text("registry.k8s.io/pause:3.10\n")
    (state / "answer").write_text('{"prediction":0,"class_name":"setosa","model_version":"20261121-073107-3f2a9c1d"}')
    return Lab(clone, tools, state)


def test_first_deployment(lab):
    run = lab.run()
    assert run.returncode == 0, run.stderr
    assert lab.calls("minikube -p lab start")
    assert len(lab.calls("minikube -p lab image build")) == 3
    assert lab.images().keys() == {"flask-api", "streamlit-ui", "nginx-server"}
    built = (lab.state / "images").read_text()
    for name, tag in lab.images().items():
        assert f"docker.io/library/{name}:{tag}\n" in built
    assert len((lab.state / "cookie").read_text()) == 64
    (request,) = lab.calls("curl ")
    assert "https://127.0.0.1:40123/predict" in request and "--cacert .run/minikube-certs/ca.crt" in request
    certificate = subprocess.run(
        ["openssl", "x509", "-in", lab.clone / ".run/minikube-certs/tls.crt", "-noout", "-ext", "subjectAltName"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "IP Address:192.168.49.2" in certificate.stdout
    for part in ("https://192.168.49.2:30443/", "port-forward service/nginx-server 8443:443", "ca.crt"):
        assert part in run.stdout
    with pytest.raises(ProcessLookupError):
        os.kill(int((lab.state / "forward.pid").read_text()), 0)


def test_second_deployment_builds_and_starts_nothing(deployed):
    applied, cookie = (deployed.state / "applied.yaml").read_text(), (deployed.state / "cookie").read_text()
    assert deployed.run().returncode == 0
    assert not deployed.calls("minikube -p lab start") and not deployed.calls("minikube -p lab image build")
    # Nothing changed, so no pod restarts.
    assert (deployed.state / "applied.yaml").read_text() == applied
    assert (deployed.state / "cookie").read_text() == cookie


@pytest.mark.parametrize(
    ("changed", "rebuilt"),
    [
        ("flask_app/new_module.py", {"flask-api"}),
        ("model_training/train.py", {"flask-api"}),
        ("requirements/ui.txt", {"streamlit-ui"}),
        (".streamlit/config.toml", {"streamlit-ui"}),
        ("table_io/new_module.py", {"flask-api", "streamlit-ui"}),
        ("nginx/conf.d/canary.http.conf.template", {"nginx-server"}),
        ("Dockerfile.nginx-server", {"nginx-server"}),
        (".dockerignore", {"flask-api", "streamlit-ui", "nginx-server"}),
        ("flask_app/__pycache__/module.cpython-313.pyc", set()),
        ("requirements/dev.txt", set()),
        ("k8s/base/settings.env", set()),
    ],
)
def test_tag_follows_the_content(deployed, changed, rebuilt):
    before = deployed.images()
    path = deployed.clone / changed
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write("# changed\n")
    assert deployed.run().returncode == 0
    assert {name for name, tag in deployed.images().items() if tag != before[name]} == rebuilt
    assert len(deployed.calls("minikube -p lab image build")) == len(rebuilt)


def test_tag_follows_the_executable_bit(deployed):
    before = deployed.images()
    script = deployed.clone / "nginx/render.sh"
    script.chmod(script.stat().st_mode ^ 0o111)
    assert deployed.run().returncode == 0
    assert {name for name, tag in deployed.images().items() if tag != before[name]} == {"nginx-server"}


def test_changed_settings_restart_the_pods(lab):
    def pods() -> list[dict]:
        documents = yaml.safe_load_all((lab.state / "applied.yaml").read_text())
        return [d["spec"]["template"] for d in documents if d["kind"] == "Deployment"]

    def settings() -> list[str]:
        return [pod["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"] for pod in pods()]

    assert lab.run().returncode == 0
    before = settings()
    with (lab.clone / "k8s/base/settings.env").open("a") as file:
        file.write("CHANGED=1\n")
    assert lab.run().returncode == 0
    assert all(new != old for new, old in zip(settings(), before, strict=True))
    marked = ["checksum/certificate" in pod["metadata"].get("annotations", {}) for pod in pods()]
    assert marked.count(True) == 1, "the certificate concerns Nginx alone"


TRAINING = ("--with", "retraining", "--with", "training-service")


def test_training_is_deployed_only_when_asked_for(deployed):
    assert not (deployed.state / "token").exists()
    run = deployed.run(*TRAINING)
    assert run.returncode == 0, run.stderr
    assert len(deployed.calls("minikube -p lab image build")) == 1
    assert deployed.images().keys() == {"flask-api", "streamlit-ui", "nginx-server", "model-training"}
    assert (deployed.state / "images").read_text().count("/model-training:sha-") == 1
    assert deployed.calls("kubectl --context lab -n iris rollout status deployment/training-api")
    assert len((deployed.state / "token").read_text()) == 64
    for part in ("get secret training-admin", "create job --from=cronjob/retraining"):
        assert part in run.stdout
    # The volume's model may be one of any table.
    (request,) = deployed.calls("curl ")
    assert request.endswith("https://127.0.0.1:40123/ready")


def test_the_admin_token_stays(lab):
    assert lab.run(*TRAINING).returncode == 0
    token = (lab.state / "token").read_text()
    assert lab.run(*TRAINING).returncode == 0
    assert not lab.calls("minikube -p lab image build")
    assert (lab.state / "token").read_text() == token


def test_every_container_has_an_image_that_was_built(lab):
    (lab.state / "storage").touch()
    assert lab.run(*TRAINING, "--with", "registry").returncode == 0
    built = (lab.state / "images").read_text()
    documents = list(yaml.safe_load_all((lab.state / "applied.yaml").read_text()))
    templates = [d["spec"]["template"]["spec"] for d in documents if d["kind"] == "Deployment"]
    templates += [d["spec"]["jobTemplate"]["spec"]["template"]["spec"] for d in documents if d["kind"] == "CronJob"]
    containers = [c for spec in templates for c in [*spec["containers"], *spec.get("initContainers", [])]]
    assert len(containers) == 8
    for container in containers:
        assert f"docker.io/library/{container['image']}\n" in built


def test_the_registry_asks_for_its_storage_first(lab):
    run = lab.run("--with", "registry")
    assert run.returncode == 1
    assert "the Secret mlflow-storage" in run.stderr.splitlines()[-1]
    assert not lab.calls("kubectl --context lab -n iris apply -k")


@pytest.mark.parametrize("arguments", [("--with",), ("--with", "canary"), (*TRAINING, "--all")])
def test_unknown_components_are_rejected(lab, arguments):
    run = lab.run(*arguments)
    assert run.returncode == 1
    assert "--with takes" in run.stderr or "unknown argument: --all" in run.stderr
    assert not lab.calls("")


@pytest.mark.parametrize("tool", ["minikube", "kubectl", "curl", "openssl"])
def test_missing_tool_is_named(lab, tool):
    (lab.tools / tool).unlink()
    run = lab.run()
    assert run.returncode == 1
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("  ")]
    assert line.split()[0] == tool and len(line.split()) > 1
    assert not lab.calls("")


def test_minikube_that_does_not_start(lab):
    (lab.state / "no-driver").touch()
    run = lab.run()
    assert run.returncode == 1 and "https://minikube.sigs.k8s.io/docs/drivers/" in run.stderr
    assert not lab.calls("kubectl")


def test_failed_build_is_noticed_although_minikube_exits_with_0(lab):
    (lab.state / "broken-build").touch()
    run = lab.run()
    assert run.returncode == 1 and "the image flask-api was not built" in run.stderr
    assert not lab.calls("kubectl")


@pytest.mark.parametrize("part", ["flask-api", "streamlit-ui", "nginx-server"])
def test_failed_rollout_shows_why(lab, part):
    (lab.state / "stuck").write_text(part)
    run = lab.run()
    assert run.returncode == 1
    assert "Warning BackOff" in run.stderr
    assert f"words of {part}-bad" in run.stderr and "-good" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith(f"minikube-deploy: {part} did not become ready")
    assert not lab.calls("curl")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ('{"class_name": "virginica", "model_version": "1"}', "'virginica'"),
        ('{"class_name": "setosa", "model_version": ""}', "no model version"),
        ("<html>setosa</html>", "''"),
    ],
)
def test_wrong_prediction_fails(lab, answer, sentence):
    (lab.state / "answer").write_text(answer)
    run = lab.run()
    assert run.returncode == 1
    assert sentence in run.stderr.splitlines()[-1]
    assert "words of flask-api" in run.stderr
    with pytest.raises(ProcessLookupError):
        os.kill(int((lab.state / "forward.pid").read_text()), 0)


def test_no_answer_fails(lab):
    (lab.state / "answer").unlink()
    run = lab.run()
    assert run.returncode == 1 and "POST /predict through Nginx failed" in run.stderr


def test_delete_removes_only_the_stack(deployed):
    run = deployed.run("--delete")
    assert run.returncode == 0, run.stderr
    assert deployed.calls("kubectl --context lab -n iris delete namespace iris")
    assert (deployed.state / "images").read_text() == "registry.k8s.io/pause:3.10\n"
    assert (deployed.state / "running").exists() and "Minikube keeps running" in run.stdout


def test_delete_of_a_stopped_cluster_names_the_next_step(lab):
    run = lab.run("--delete")
    assert run.returncode == 1 and "minikube -p lab start" in run.stderr
    assert not lab.calls("kubectl") and not lab.calls("minikube -p lab start")


def test_help_and_unknown_arguments(lab):
    assert "--delete" in lab.run("--help").stdout
    assert lab.run("-h").returncode == 0
    run = lab.run("--remove")
    assert run.returncode == 1 and "--remove" in run.stderr and not lab.calls("")
