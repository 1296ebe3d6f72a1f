"""The stack under Compose: more replicas, dying containers and workers, and published ports."""

import http.client
import json
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.containers.load import Load

SERVICES = ("flask-api", "training-api", "streamlit-ui", "nginx-server")
BODY = json.dumps({"features": [5.1, 3.5, 1.4, 0.2]})
# Nginx queries Docker's DNS again after 2 s.
DNS_SECONDS = 3


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inspect(container: str) -> dict[str, Any]:
    return json.loads(docker("inspect", container))[0]


def addresses(compose: Any, service: str = "flask-api") -> set[str]:
    containers = (inspect(container) for container in compose.containers(service))
    return {network["IPAddress"] for found in containers for network in found["NetworkSettings"]["Networks"].values()}


def load(compose: Any, total: int, during: Callable[[], None] = lambda: None, connections: int = 8) -> Counter:
    """POST /predict `total` times; `during` runs after a quarter. Return the counts of statuses and exceptions."""
    context = ssl.create_default_context(cafile=compose.ca_cert)
    parts = urlsplit(compose.base_url)
    results: Counter = Counter()
    lock = threading.Lock()
    left = total

    def client() -> None:
        nonlocal left
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context, timeout=30)
        while True:
            with lock:
                if left == 0:
                    break
                left -= 1
            try:
                connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                result = 200 if answer.status == 200 else f"{answer.status} {content[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                result = repr(error)
            with lock:
                results[result] += 1
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(connections)]
    for thread in threads:
        thread.start()
    while left > total * 3 // 4:
        time.sleep(0.001)
    during()
    for thread in threads:
        thread.join()
    return results


def served_by(compose: Any, total: int) -> Counter:
    """Return the API's address that answered each of `count` requests, from Nginx's log."""
    marker = f"balance-{time.monotonic_ns()}"
    parts = urlsplit(compose.base_url)
    context = ssl.create_default_context(cafile=compose.ca_cert)
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context, timeout=30)
    for _ in range(total):
        headers = {"Content-Type": "application/json", "X-Request-ID": marker}
        connection.request("POST", "/predict", BODY, headers)
        assert connection.getresponse().read()
    connection.close()
    deadline = time.monotonic() + 10
    while True:
        [nginx] = compose.containers("nginx-server")
        lines = [json.loads(line) for line in docker("logs", nginx).splitlines() if marker in line]
        if len(lines) == total or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert len(lines) == total
    assert {line["status"] for line in lines} == {200}
    # The last of the tried addresses answered.
    return Counter(line["upstream_addr"].replace(",", " ").split()[-1].rsplit(":", 1)[0] for line in lines)


def scale(compose: Any, replicas: int) -> None:
    compose.run("up", "-d", "--no-build", "--no-recreate", "--scale", f"flask-api={replicas}")
    compose.wait_until_ready()
    time.sleep(DNS_SECONDS)


@pytest.fixture(scope="module")
def three(compose: Any) -> Iterator[Any]:
    """Compose with three replicas of the API, and one again afterwards."""
    scale(compose, 3)
    yield compose
    scale(compose, 1)


# --- one replica -------------------------------------------------------------------------------------------------


def kill_a_worker(compose: Any) -> None:
    [api] = compose.containers("flask-api")
    script = "import os; os.kill(int(open('/proc/1/task/1/children').read().split()[0]), 9)"
    docker("exec", api, "python", "-c", script)


def test_killed_worker_costs_no_request(compose: Any) -> None:
    scale(compose, 1)
    assert load(compose, 2000, lambda: kill_a_worker(compose)) == {200: 2000}


def test_a_restarted_nginx_keeps_its_certificates(compose: Any) -> None:
    [nginx] = compose.containers("nginx-server")
    before = docker("exec", nginx, "cat", "/certs/ca.crt", "/certs/tls.crt")
    compose.run("up", "-d", "--no-build", "--no-deps", "--force-recreate", "nginx-server")
    compose.wait_until_ready()
    [nginx] = compose.containers("nginx-server")
    assert docker("exec", nginx, "cat", "/certs/ca.crt", "/certs/tls.crt") == before
    assert load(compose, 10) == {200: 10}


# --- three replicas ----------------------------------------------------------------------------------------------


def test_replicas_share_the_work(three: Any) -> None:
    counts = served_by(three, 150)
    assert set(counts) == addresses(three)
    assert min(counts.values()) >= 25


def test_stopped_replica_costs_no_request(three: Any) -> None:
    victim = three.containers("flask-api")[0]
    assert load(three, 1000, lambda: docker("stop", victim)) == {200: 1000}
    docker("start", victim)
    three.wait_until_ready()


def test_killed_replica_costs_no_request_and_returns_with_another_address(three: Any) -> None:
    victim = three.containers("flask-api")[0]
    old = addresses(three)
    [network] = inspect(victim)["NetworkSettings"]["Networks"]
    assert load(three, 1000, lambda: docker("rm", "--force", victim)) == {200: 1000}
    # Another container takes the address, so that the new one gets a different address.
    squatter = docker("run", "-d", "--rm", "--network", network, "flask-api", "sleep", "300").strip()
    try:
        scale(three, 3)
        new = addresses(three)
        assert len(new) == 3
        assert new != old
        counts = served_by(three, 150)
    finally:
        docker("rm", "--force", squatter)
    assert set(counts) == new
    assert min(counts.values()) >= 25


def test_rolling_restart_costs_no_request(three: Any) -> None:
    """One container after the other, at 50 requests a second over kept connections and 50 over new ones."""
    with Load(three, per_second=50) as kept, Load(three, per_second=50, keepalive=False) as fresh:
        time.sleep(1)
        for container in three.containers("flask-api"):
            docker("restart", container)
            three.wait_until_ready()
            time.sleep(DNS_SECONDS)
    for load in (kept, fresh):
        assert load.of(0).keys() == {200}
        assert load.of(0)[200] > 300


def test_scaling_up_and_down_costs_no_request(three: Any) -> None:
    with Load(three, per_second=50) as load:
        time.sleep(1)
        for replicas in (5, 1, 3):
            scale(three, replicas)
    assert load.of(0).keys() == {200}


# --- what it exposes ---------------------------------------------------------------------------------------------


def test_only_nginx_is_published_to_the_outside(three: Any) -> None:
    published = {
        service: {
            (port, binding["HostIp"])
            for container in three.containers(service)
            for port, bindings in inspect(container)["NetworkSettings"]["Ports"].items()
            for binding in bindings or []
        }
        for service in SERVICES
    }
    assert published["flask-api"] == {("5000/tcp", "127.0.0.1")}
    assert published["training-api"] == {("5001/tcp", "127.0.0.1")}
    assert published["streamlit-ui"] == {("8501/tcp", "127.0.0.1")}
    assert {port for port, _ in published["nginx-server"]} == {"8443/tcp", "8080/tcp"}
    assert {host for _, host in published["nginx-server"]} <= {"", "0.0.0.0", "::"}


@pytest.mark.parametrize("service", SERVICES)
def test_container_is_confined(compose: Any, service: str) -> None:
    found = inspect(compose.containers(service)[0])
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["CapAdd"] is None
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert not host["Privileged"]
    assert host["Memory"] > 0
    assert host["NanoCpus"] > 0
    assert host["PidsLimit"] > 0
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
    assert found["Config"]["User"] not in ("", "0", "root")
    # Longer than the part itself needs to finish what it has accepted.
    needed = {"flask-api": 30, "training-api": 30, "nginx-server": 25, "streamlit-ui": 10}
    assert found["Config"]["StopTimeout"] >= needed[service]


def test_parts_stop_by_themselves_in_time(compose: Any) -> None:
    """Docker would kill a part that ignores its signal, with its running requests."""
    containers = {service: compose.containers(service)[0] for service in reversed(SERVICES)}
    for service, container in containers.items():
        docker("stop", container)
        # 137 would be a kill.
        assert inspect(container)["State"]["ExitCode"] in (0, 143), service
    for service in SERVICES:
        docker("start", containers[service])
    compose.wait_until_ready()
    time.sleep(DNS_SECONDS)
    assert load(compose, 10) == {200: 10}
