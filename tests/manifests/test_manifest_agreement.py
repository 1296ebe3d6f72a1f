"""Names, ports, versions, settings and times agree in k8s/, the Dockerfiles, Compose, Nginx and the code."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from streamlit import config as streamlit_config

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("flask-api", "streamlit-ui", "nginx-server")
# A library reads these, not our own code.
LIBRARY_SETTINGS = {"OMP_NUM_THREADS", "WEB_CONCURRENCY"}


def read(path: str) -> str:
    return (ROOT / path).read_text()


def pod(objects: dict[tuple[str, str], Any], part: str) -> dict[str, Any]:
    return objects["Deployment", part]["spec"]["template"]["spec"]


def container(objects: dict[tuple[str, str], Any], part: str) -> dict[str, Any]:
    (only,) = pod(objects, part)["containers"]
    return only


@pytest.fixture(scope="module")
def settings(objects) -> dict[str, str]:
    (found,) = [document for (kind, _), document in objects.items() if kind == "ConfigMap"]
    return found["data"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load(read("docker-compose.yaml"))["services"]


@pytest.mark.parametrize("part", PARTS)
def test_one_name_for_everything(objects, compose, part):
    deployment = objects["Deployment", part]
    name = {"app.kubernetes.io/name": part}
    assert deployment["spec"]["selector"]["matchLabels"] == name
    assert deployment["spec"]["template"]["metadata"]["labels"].items() >= name.items()
    assert objects["Service", part]["spec"]["selector"] == name
    assert objects["PodDisruptionBudget", part]["spec"]["selector"]["matchLabels"] == name
    (spread,) = pod(objects, part)["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == name
    assert container(objects, part)["name"] == part
    assert container(objects, part)["image"].partition(":")[0] == part
    assert compose[part]["image"].partition(":")[0] == part


def test_everything_is_in_the_namespace(objects):
    elsewhere = {
        key
        for key, document in objects.items()
        if key[0] not in {"Namespace", "PriorityClass"} and document["metadata"]["namespace"] != "iris"
    }
    assert not elsewhere
    assert re.search(r"^NAMESPACE=iris$", read("minikube-deploy.sh"), re.MULTILINE)


def test_one_version_of_all_images(objects):
    tags = {container(objects, part)["image"].partition(":")[2] for part in PARTS}
    assert len(tags) == 1
    assert re.fullmatch(r"\d+\.\d+\.\d+", tags.pop())


@pytest.mark.parametrize("part", PARTS)
def test_services_reach_containers_by_port_names(objects, part):
    by_name = {port["name"]: port["containerPort"] for port in container(objects, part)["ports"]}
    targets = [port["targetPort"] for port in objects["Service", part]["spec"]["ports"]]
    assert sorted(targets) == sorted(by_name)


@pytest.mark.parametrize("part", PARTS)
def test_ports_are_those_of_image_and_compose(objects, compose, part):
    ports = {port["containerPort"] for port in container(objects, part)["ports"]}
    exposed = re.search(r"^EXPOSE (.+)$", read(f"Dockerfile.{part}"), re.MULTILINE)
    assert exposed and {int(port) for port in exposed[1].split()} == ports
    assert {int(published.rpartition(":")[2]) for published in compose[part]["ports"]} == ports


@pytest.mark.parametrize("part", PARTS)
def test_user_is_that_of_the_image(objects, part):
    user = re.findall(r"^USER (\d+):(\d+)$", read(f"Dockerfile.{part}"), re.MULTILINE)[-1]
    for context in (pod(objects, part)["securityContext"], container(objects, part)["securityContext"]):
        assert (context["runAsUser"], context["runAsGroup"]) == (int(user[0]), int(user[1]))


def test_settings_name_the_ports(objects, settings):
    ports = {
        (part, port["name"]): str(port["containerPort"]) for part in PARTS for port in container(objects, part)["ports"]
    }
    assert settings["API_PORT"] == ports["flask-api", "http"]
    assert settings["STREAMLIT_SERVER_PORT"] == ports["streamlit-ui", "http"]
    assert settings["HTTPS_PORT"] == ports["nginx-server", "https"]
    assert settings["HTTP_PORT"] == ports["nginx-server", "http"]
    outside = {port["name"]: port["port"] for port in objects["Service", "nginx-server"]["spec"]["ports"]}
    assert outside == {"https": 443, "http": 80}
    assert settings["PUBLIC_HTTPS_PORT"] == "443"


def test_settings_name_the_services(objects, settings):
    def address(part: str) -> str:
        (port,) = objects["Service", part]["spec"]["ports"]
        return f"{part}:{port['port']}"

    assert settings["API_UPSTREAM"] == address("flask-api")
    assert settings["UI_UPSTREAM"] == address("streamlit-ui")
    assert settings["API_BASE_URL"] == f"http://{address('flask-api')}"
    # Nginx resolves these names once, so they must not be the pods' own addresses.
    for part in ("flask-api", "streamlit-ui"):
        assert objects["Service", part]["spec"].get("clusterIP") != "None"


def test_every_setting_is_read_by_something(objects, settings):
    code = "\n".join(
        path.read_text() for folder in ("flask_app", "streamlit_app") for path in sorted((ROOT / folder).rglob("*.py"))
    )
    nginx = "\n".join(re.findall(r"^([A-Z_]+)=\${\1:-", read("nginx/render.sh"), re.MULTILINE))
    streamlit = "\n".join(option.env_var for option in streamlit_config.get_config_options().values())
    used = {variable["name"] for part in PARTS for variable in container(objects, part).get("env", [])}
    unknown = {
        name
        for name in settings.keys() | used
        if name not in LIBRARY_SETTINGS
        # A settings class may name its fields in lower case.
        and not re.search(rf"\b({name}|{name.lower()})\b", f"{code}\n{nginx}\n{streamlit}")
    }
    assert not unknown


@pytest.mark.parametrize("name", ["MAX_BODY_BYTES", "MAX_FILE_BYTES"])
def test_the_shared_limits_are_every_default(settings, compose, name):
    default = f"${{{name}:-{settings[name]}}}"
    assert f"{name}={default}" in read("nginx/render.sh")
    for part in ("flask-api", "nginx-server"):
        assert compose[part]["environment"][name] == default


def test_the_limit_of_uploads_is_every_default(settings, compose):
    name = "STREAMLIT_SERVER_MAX_UPLOAD_SIZE"
    ours = tomllib.loads(read(".streamlit/config.toml"))["server"]
    assert settings[name] == str(ours["maxUploadSize"])
    assert f"{name}=${{{name}:-{settings[name]}}}" in read("nginx/render.sh")
    for part in ("streamlit-ui", "nginx-server"):
        assert compose[part]["environment"][name] == f"${{{name}:-{settings[name]}}}"


def test_ui_is_opened_by_known_names_only(compose):
    name = "STREAMLIT_SERVER_ALLOWED_HOSTS"
    ours = tomllib.loads(read(".streamlit/config.toml"))["server"]
    assert ours["enableXsrfProtection"] is True
    for part in ("streamlit-ui", "nginx-server"):
        assert compose[part]["environment"][name] == f"{' '.join(ours['allowedHosts'])} ${{CERT_NAMES:-}}"


def seconds(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, pattern
    return int(found[1])


def pre_stop(objects: Any, part: str) -> int:
    """Return the seconds of the preStop hook."""
    *_, command = container(objects, part)["lifecycle"]["preStop"]["exec"]["command"]
    return seconds(r"(\d+)$", command)


def test_grace_periods_add_up(objects, settings):
    """preStop + the time to finish accepted requests < the time until SIGKILL."""
    to_finish = {
        "flask-api": int(settings["GRACEFUL_TIMEOUT_SECONDS"]),
        "nginx-server": seconds(r"worker_shutdown_timeout (\d+)s;", read("nginx/nginx.conf.template")),
        "streamlit-ui": 0,
    }
    for part in PARTS:
        wait, grace = pre_stop(objects, part), pod(objects, part)["terminationGracePeriodSeconds"]
        assert wait + to_finish[part] + 5 <= grace
        # The documentation has the same values.
        finish = rf"{to_finish[part] or 'none'}\b[^|]*"
        row = rf"\| `{part}` \| {wait} s \| {finish}\| {wait + to_finish[part]} s \| {grace} s \|"
        assert re.search(row, read("docs/operations.md")), row


def test_draining_is_the_file_that_nginx_checks(objects):
    image = read("Dockerfile.nginx-server")
    run_dir = re.search(r"RUN_DIR=(\S+)", image)
    assert run_dir
    assert (
        f"touch {run_dir[1]}/draining;"
        in container(objects, "nginx-server")["lifecycle"]["preStop"]["exec"]["command"][-1]
    )
    assert 'if (-f "${RUN_DIR}/draining")' in read("nginx/nginx.conf.template")


def test_stop_signals_are_the_graceful_ones():
    assert "\nSTOPSIGNAL SIGQUIT\n" in read("Dockerfile.nginx-server")
    assert "\nSTOPSIGNAL SIGTERM\n" in read("Dockerfile.flask-api")


def test_upstream_keeps_connections_longer_than_nginx(settings):
    group = read("nginx/conf.d/api-group.http.conf.template")
    nginx = seconds(r"(?s)upstream flask_api \{.*?keepalive_timeout (\d+)s;", group)
    assert int(settings["KEEPALIVE_SECONDS"]) > nginx


def test_workers_follow_the_cpu_limit(objects):
    for part, name in (("flask-api", "WEB_CONCURRENCY"), ("nginx-server", "NGINX_WORKERS")):
        (variable,) = [v for v in container(objects, part)["env"] if v["name"] == name]
        assert variable["valueFrom"]["resourceFieldRef"]["resource"] == "limits.cpu"
        # A fraction of a core would become a whole worker, which is throttled.
        assert re.fullmatch(r"\d+", str(container(objects, part)["resources"]["limits"]["cpu"]))


def test_sessions_stay_with_their_replica(objects):
    for part in ("nginx-server", "streamlit-ui"):
        assert objects["Service", part]["spec"]["sessionAffinity"] == "ClientIP"
    (secret,) = [v for v in container(objects, "streamlit-ui")["env"] if v["name"] == "STREAMLIT_SERVER_COOKIE_SECRET"]
    assert secret["valueFrom"]["secretKeyRef"] == {"name": "streamlit-cookie", "key": "cookie-secret", "optional": True}


@pytest.mark.parametrize(
    ("part", "name"), [("flask-api", "API_KEYS"), ("nginx-server", "API_KEYS"), ("streamlit-ui", "API_KEY")]
)
def test_api_keys_come_from_one_secret_that_need_not_exist(objects, compose, part, name):
    (secret,) = [v for v in container(objects, part)["env"] if v["name"] == name]
    assert secret["valueFrom"]["secretKeyRef"] == {"name": "api-keys", "key": name, "optional": True}
    assert compose[part]["environment"][name] == f"${{{name}:-}}"


def test_certificate_is_mounted_where_nginx_reads_it(objects, settings):
    spec = pod(objects, "nginx-server")
    (mount,) = [mount for mount in container(objects, "nginx-server")["volumeMounts"] if mount["name"] == "certs"]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "certs"]
    assert mount == {"name": "certs", "mountPath": settings["CERT_DIR"], "readOnly": True}
    assert volume["secret"] == {"secretName": "nginx-certs", "defaultMode": 0o440}
    # The files' group: with mode 0440, only root could otherwise read the key.
    assert spec["securityContext"]["fsGroup"] == container(objects, "nginx-server")["securityContext"]["runAsGroup"]


def test_probes_ask_for_paths_that_are_not_redirected(objects):
    paths = {
        part: {
            container(objects, part)[f"{probe}Probe"]["httpGet"]["path"]
            for probe in ("startup", "readiness", "liveness")
        }
        for part in PARTS
    }
    assert paths == {
        "flask-api": {"/health", "/ready"},
        "streamlit-ui": {"/_stcore/health"},
        "nginx-server": {"/nginx-health"},
    }
    assert container(objects, "flask-api")["readinessProbe"]["httpGet"]["path"] == "/ready"
