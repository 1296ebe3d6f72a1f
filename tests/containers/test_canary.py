"""Canary and shadow under Compose: shares, promotion and abort; a shadow's answers never reach a client."""

import contextlib
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.containers.load import Load
from tests.stacks import ComposeStack

ROOT = Path(__file__).resolve().parents[2]


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def compose_with(folder: Path, profile: str, **environ: str) -> ComposeStack:
    return ComposeStack(folder, COMPOSE_PROFILES=profile, **environ)


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """The stack with a challenger that gets a quarter of the predictions."""
    # A tag of its own: a promotion moves it to another image.
    with compose_with(tmp_path_factory.mktemp("canary"), "canary", CANARY_PERCENT="25") as running:
        champion = docker("image", "inspect", "--format", "{{.Id}}", "flask-api").strip()
        yield running
        docker("tag", champion, "flask-api")


@pytest.fixture(scope="module")
def shadow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeStack]:
    """The stack with a challenger that gets copies."""
    folder = tmp_path_factory.mktemp("shadow")
    with compose_with(folder, "shadow", SHADOW_UPSTREAM="flask-api-shadow:5000") as running:
        yield running


def script(
    stack: ComposeStack, *arguments: str, check: bool = True, **environ: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "k8s/canary.py", "--compose", *arguments],
        cwd=ROOT,
        env={**os.environ, **stack.env, "COMPOSE_PROJECT_NAME": stack.project, **environ},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def version_of(stack: ComposeStack, service: str) -> str:
    [container] = stack.containers(service)
    return docker("exec", container, "cat", "/artifacts/current").strip()


# --- canary, in this order -----------------------------------------------------------------------------------------


def test_the_share_is_within_three_points_over_4000_requests(canary: ComposeStack) -> None:
    load = Load(canary, 4000).run()
    assert load.of(0) == {200: 4000}
    tracks = load.of(1)
    print(f"share of the challenger: {tracks['challenger'] / 40:.2f}% of 4000, 25% wanted")
    assert abs(tracks["challenger"] / 4000 - 0.25) <= 0.03
    champion, challenger = version_of(canary, "flask-api"), version_of(canary, "flask-api-canary")
    assert champion != challenger
    # Header and model version agree.
    assert load.results == {
        (200, "champion", champion): tracks["champion"],
        (200, "challenger", challenger): tracks["challenger"],
    }


def test_status_compares_the_tracks(canary: ComposeStack) -> None:
    with Load(canary, per_second=60):
        time.sleep(1)
        status = script(canary, "status", CANARY_SECONDS="10", CANARY_MIN_REQUESTS="50", CANARY_MAX_LATENCY="5")
    print(status.stdout)
    numbers = dict(re.findall(r"^(champion|challenger) +(\d+) +0 +0\.00 ", status.stdout, re.MULTILINE))
    assert int(numbers["challenger"]) > 50
    assert int(numbers["champion"]) > 2 * int(numbers["challenger"])
    assert "share: 25%, watched: 10 s" in status.stdout
    assert "the challenger may be promoted" in status.stdout


def test_a_challenger_without_requests_is_not_promoted(canary: ComposeStack) -> None:
    rejected = script(canary, "promote", check=False, CANARY_SECONDS="2")
    assert rejected.returncode == 1
    assert "not promoted: the challenger answered 0 predictions, and 100 are required" in rejected.stderr


def test_a_changed_share_is_applied(canary: ComposeStack) -> None:
    script(canary, "share", "60")
    time.sleep(1)
    tracks = Load(canary, 2000).run().of(1)
    assert abs(tracks["challenger"] / 2000 - 0.6) <= 0.04
    mistake = script(canary, "share", "many", check=False)
    assert mistake.stderr == "canary: the share is 'many', but must be a whole number from 0 to 100\n"


def test_a_challenger_that_dies_costs_no_request(canary: ComposeStack) -> None:
    [challenger] = canary.containers("flask-api-canary")
    with Load(canary, per_second=60) as load:
        time.sleep(1)
        docker("kill", challenger)
        time.sleep(4)
    assert set(load.of(0)) == {200}
    docker("start", challenger)
    canary.wait_until_ready()


def test_abort_under_load_loses_nothing(canary: ComposeStack) -> None:
    with Load(canary, per_second=60) as load:
        time.sleep(1)
        script(canary, "abort")
        aborted = Load(canary, 200).run()
    assert set(load.of(0)) == {200}
    assert aborted.of(1) == {"champion": 200}
    assert not running(canary, "flask-api-canary")


def running(stack: ComposeStack, service: str) -> list[str]:
    return [
        one
        for one in stack.containers(service)
        if docker("inspect", "--format", "{{.State.Running}}", one).strip() == "true"
    ]


def test_promote_under_load_loses_nothing(canary: ComposeStack) -> None:
    canary.run("start", "flask-api-canary")
    canary.wait_until_ready()
    challenger = docker("exec", running(canary, "flask-api-canary")[0], "cat", "/artifacts/current").strip()
    script(canary, "share", "40")
    time.sleep(1)
    with Load(canary, per_second=60) as load:
        done = script(canary, "promote", CANARY_SECONDS="8", CANARY_MIN_REQUESTS="50", CANARY_MAX_LATENCY="5")
        time.sleep(2)
    print(done.stdout, load.results)
    assert set(load.of(0)) == {200}
    after = Load(canary, 200).run()
    assert after.results == {(200, "champion", challenger): 200}
    assert not running(canary, "flask-api-canary")
    with contextlib.closing(ask(canary, "/model")) as answer:
        assert json.loads(answer.read())["model_version"] == challenger


def ask(stack: ComposeStack, path: str) -> http.client.HTTPResponse:
    parts = urlsplit(stack.base_url)
    context = ssl.create_default_context(cafile=stack.ca_cert)
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=30)
    connection.request("GET", path)
    return connection.getresponse()


# --- shadow --------------------------------------------------------------------------------------------------------


def compared(stack: ComposeStack) -> dict[str, int]:
    program = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:5000/metrics').read().decode())"
    text = docker("exec", running(stack, "flask-api-shadow")[0], "python", "-c", program)
    found = re.findall(r'^flask_api_shadow_rows_total\{agreed="(\w+)"\} (\S+)', text, re.MULTILINE)
    return {agreed: int(float(value)) for agreed, value in found}


def test_shadow_answers_are_counted_and_never_reach_a_client(shadow: ComposeStack) -> None:
    deadline = time.monotonic() + 60
    while sum(compared(shadow).values()) == 0:
        assert time.monotonic() < deadline, "the champion's model does not reach the shadow"
        Load(shadow, 1).run()
        time.sleep(1)
    before = compared(shadow)
    load = Load(shadow, 2000, per_second=100).run()
    champion = version_of(shadow, "flask-api")
    assert load.results == {(200, "champion", champion): 2000}
    deadline = time.monotonic() + 20
    while sum(compared(shadow).values()) - sum(before.values()) < 2000 and time.monotonic() < deadline:
        time.sleep(0.5)
    counted = {agreed: value - before[agreed] for agreed, value in compared(shadow).items()}
    print(f"copies compared: {counted}, agreement {counted['true'] / sum(counted.values()):.4f}")
    # A copy may be dropped, never counted twice.
    assert 1950 <= sum(counted.values()) <= 2000
    assert counted["true"] > counted["false"] > 0


def test_a_shadow_that_hangs_or_dies_costs_no_request(shadow: ComposeStack) -> None:
    """`make bench` measures the latency with a shadow that hangs (stalled clients)."""
    [container] = running(shadow, "flask-api-shadow")
    docker("pause", container)
    try:
        hung = Load(shadow, 500, connections=2).run()
    finally:
        docker("unpause", container)
    docker("kill", container)
    dead = Load(shadow, 500, connections=2).run()
    docker("start", container)
    for load in (hung, dead):
        assert load.of(1) == {"champion": 500}
