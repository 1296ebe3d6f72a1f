"""k8s/canary.py on a cluster, with a recording stand-in for kubectl; tests/containers has a real engine."""

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from k8s.canary import LIMITS, error_percent, parse, quantile_ms, reasons_against, since

ROOT = Path(__file__).resolve().parents[2]

KUBECTL = r"""
echo "$*" >>"$STATE/calls"
[ "$1 $2" = "-n lab" ] || { echo "no namespace named" >&2; exit 64; }
shift 2
case "$*" in
  "get pods -l app.kubernetes.io/name=flask-api --field-selector="*) echo pod/flask-api-1; echo pod/flask-api-2 ;;
  "get pods -l app.kubernetes.io/name=flask-api-canary --field-selector="*)
    [ -e "$STATE/no-challenger" ] || echo pod/flask-api-canary-1 ;;
  "get pods -l app.kubernetes.io/name=flask-api-canary -o "*) cat "$STATE/restarts" ;;
  "exec pod/flask-api-canary-1 -c flask-api -- python -c "*) cat "$STATE/challenger" ;;
  "exec pod/flask-api-"[12]" -c flask-api -- python -c "*) cat "$STATE/champion" ;;
  "get deployment/nginx-server "*) echo 10 ;;
  "get deployment/flask-api-canary "*) echo registry.example.com/iris/flask-api:1.1.0 ;;
  "set env deployment/nginx-server CANARY_PERCENT="* | "set image "* | "scale "*) ;;
  "rollout status "*) [ ! -e "$STATE/stuck" ] || [ "$3" != "deployment/flask-api" ] ;;
  *) echo "unexpected: $*" >&2; exit 64 ;;
esac
"""


def exposition(fast: int, slow: int, failed: int = 0) -> str:
    """Return metrics of `fast` answers (at most 5 ms), `slow` ones (50 to 100 ms), `failed` ones (500), and a probe."""
    name = "flask_api_request_duration_seconds"
    lines = [f'{name}_count{{method="GET",route="/ready",status="503"}} 999.0']
    for status, quick, late in (("200", fast, slow), ("500", failed, 0)):
        labels = f'method="POST",route="/predict",status="{status}"'
        total = quick + late
        for bound, below in (("0.005", quick), ("0.05", quick), ("0.1", total), ("+Inf", total)):
            lines.append(f'{name}_bucket{{le="{bound}",{labels}}} {below}.0')
        lines += [f"{name}_count{{{labels}}} {total}.0", f"{name}_sum{{{labels}}} 1.0"]
    return "\n".join(lines) + "\n"


@dataclass
class Lab:
    state: Path

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        (self.state / "calls").write_text("")
        tools = f"{self.state}:{os.environ['PATH']}"
        environment = {"PATH": tools, "STATE": str(self.state), "NAMESPACE": "lab", "CANARY_SECONDS": "0", **environ}
        return subprocess.run(
            [sys.executable, ROOT / "k8s/canary.py", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def changes(self) -> list[str]:
        """Return the commands that changed the cluster."""
        calls = [call.removeprefix("-n lab ") for call in (self.state / "calls").read_text().splitlines()]
        return [call for call in calls if call.startswith(("set ", "scale ", "rollout "))]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    (tmp_path / "kubectl").write_text(f"#!/bin/sh\nset -eu\n{KUBECTL}")
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "champion").write_text(exposition(490, 10))
    (tmp_path / "challenger").write_text(exposition(195, 5))
    (tmp_path / "restarts").write_text("0\n")
    return Lab(tmp_path)


def test_status_sums_all_pods_of_a_track(lab: Lab) -> None:
    run = lab.run("status")
    assert run.returncode == 0, run.stderr
    assert re.search(r"^champion +1000 +0 +0\.00 ", run.stdout, re.MULTILINE)
    assert re.search(r"^challenger +200 +0 +0\.00 +2\.6 +4\.9$", run.stdout, re.MULTILINE)
    assert "share: 10%, watched: since the start" in run.stdout
    assert "may be promoted" in run.stdout
    assert lab.changes() == []


def test_promote_takes_the_challengers_image_before_it_goes(lab: Lab) -> None:
    run = lab.run("promote")
    assert run.returncode == 0, run.stderr
    assert lab.changes() == [
        "set image deployment/flask-api flask-api=registry.example.com/iris/flask-api:1.1.0",
        "rollout status deployment/flask-api --timeout=300s",
        "set env deployment/nginx-server CANARY_PERCENT=0",
        "rollout status deployment/nginx-server --timeout=300s",
        "scale deployment/flask-api-canary --replicas=0",
    ]


@pytest.mark.parametrize(
    ("challenger", "restarts", "reason"),
    [
        (exposition(99, 0), "0\n", "the challenger answered 99 predictions, and 100 are required"),
        (exposition(990, 0, 10), "0\n", "the challenger fails 1.00% of its requests, the champion 0.00%"),
        (exposition(100, 100), "0\n", "the challenger takes 95.0 ms (95th percentile), the champion 4.8 ms"),
        (exposition(195, 5), "1\n2\n", "the challenger was restarted 3 times"),
    ],
)
def test_a_worse_challenger_is_not_promoted(lab: Lab, challenger: str, restarts: str, reason: str) -> None:
    (lab.state / "challenger").write_text(challenger)
    (lab.state / "restarts").write_text(restarts)
    run = lab.run("promote")
    assert run.returncode == 1
    assert f"canary: not promoted: {reason}" in run.stderr
    assert lab.changes() == []


def test_a_champion_that_does_not_become_ready_keeps_the_challenger(lab: Lab) -> None:
    (lab.state / "stuck").touch()
    run = lab.run("promote")
    assert run.returncode == 1
    assert "kubectl -n lab rollout undo deployment/flask-api" in run.stderr
    assert not [change for change in lab.changes() if change.startswith(("scale", "set env"))]


def test_abort_stops_the_challenger_first(lab: Lab) -> None:
    assert lab.run("abort").returncode == 0
    assert lab.changes()[:2] == [
        "scale deployment/flask-api-canary --replicas=0",
        "set env deployment/nginx-server CANARY_PERCENT=0",
    ]


def test_share(lab: Lab) -> None:
    assert lab.run("share", "35").returncode == 0
    assert lab.changes()[0] == "set env deployment/nginx-server CANARY_PERCENT=35"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name a command: status, share PERCENT, promote or abort (see --help)"),
        (("share", "101"), "the share is '101', but must be a whole number from 0 to 100"),
        (("share",), "name a command: status, share PERCENT, promote or abort (see --help)"),
    ],
)
def test_a_mistake_is_one_sentence(lab: Lab, arguments: tuple[str, ...], sentence: str) -> None:
    run = lab.run(*arguments)
    assert (run.returncode, run.stderr) == (1, f"canary: {sentence}\n")


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"CANARY_SECONDS": "long"}, "canary: CANARY_SECONDS is 'long', but must be a number such as 60"),
        ({"CANARY_MAX_ERRORS": "-1"}, "canary: CANARY_MAX_ERRORS is '-1', but must be a number such as 0.5"),
    ],
)
def test_a_bad_limit_is_one_sentence(lab: Lab, environ: dict[str, str], sentence: str) -> None:
    run = lab.run("status", **environ)
    assert (run.returncode, run.stderr) == (1, f"{sentence}\n")


def test_a_failing_kubectl_is_one_sentence_with_its_status(lab: Lab) -> None:
    run = lab.run("status", NAMESPACE="other")
    assert (run.returncode, run.stderr) == (64, "no namespace named\ncanary: kubectl failed; the reason is above\n")
    run = lab.run("status", PATH="/nonexistent")
    assert (run.returncode, run.stderr) == (127, "canary: kubectl is not installed\n")


def test_without_a_challenger_it_names_the_component(lab: Lab) -> None:
    (lab.state / "no-challenger").touch()
    run = lab.run("status")
    assert run.returncode == 1
    assert run.stderr.startswith("canary: no challenger runs here; apply the component canary")


def test_help(lab: Lab) -> None:
    run = lab.run("--help")
    assert run.returncode == 0 and "CANARY_MIN_REQUESTS" in run.stdout


# --- the figures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("buckets", "q", "expected"),
    [
        ({}, 0.95, 0.0),
        ({"0.1": 0, "+Inf": 0}, 0.95, 0.0),
        # Half of the way through the bucket from 0 to 100 ms, and through the one from 100 to 200 ms.
        ({"0.1": 10, "0.2": 10, "+Inf": 10}, 0.5, 50.0),
        ({"0.1": 10, "0.2": 20, "+Inf": 20}, 0.75, 150.0),
        # An empty bucket in between is skipped; in the last one only its lower bound is known.
        ({"0.1": 5, "0.2": 5, "0.4": 10, "+Inf": 10}, 0.75, 300.0),
        ({"0.1": 1, "0.2": 1, "+Inf": 10}, 0.95, 200.0),
        # By number and not by text.
        ({"0.5": 0, "2.5": 0, "10.0": 10, "+Inf": 10}, 0.5, 6250.0),
    ],
)
def test_a_quantile_is_interpolated_within_its_bucket(buckets: dict[str, int], q: float, expected: float) -> None:
    counts = Counter({f"le {bound}": count for bound, count in buckets.items()})
    assert quantile_ms(counts, q) == expected


def test_only_post_requests_of_the_duration_count() -> None:
    counts = parse(exposition(3, 2, 1) + 'flask_api_request_bytes_count{method="POST",status="500"} 7.0\n')
    assert counts == {"requests": 6, "errors": 1, "le 0.005": 4, "le 0.05": 4, "le 0.1": 6, "le +Inf": 6}
    assert parse("") == {}
    assert error_percent(counts) == 16.67
    assert error_percent(parse("")) == 0


def test_a_restarted_replica_counts_from_zero() -> None:
    now = Counter({"requests": 5, "errors": 3, "le +Inf": 5})
    assert since(Counter({"requests": 90, "errors": 1}), now) == {"requests": 5, "errors": 2, "le +Inf": 5}


def test_without_an_answer_of_the_champion_there_is_no_comparison() -> None:
    limits = {name: float(default) for name, default in LIMITS.items()}
    reasons = list(reasons_against(parse(""), parse(exposition(200, 0)), 0, limits))
    assert reasons == ["the champion answered no predictions to compare with"]
