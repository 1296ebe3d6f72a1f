#!/usr/bin/env python3
"""Usage: k8s/canary.py [--compose] status          compare champion and challenger over the same time
       k8s/canary.py [--compose] share PERCENT   send this percentage of predictions to the challenger
       k8s/canary.py [--compose] promote         give the champion the challenger's image, if the limits below allow it
       k8s/canary.py [--compose] abort           send no predictions to the challenger, and stop it

Works on the current cluster of kubectl, where the component canary is applied; with --compose on the stack of
docker-compose.yaml, started with CANARY_PERCENT=10 docker compose --profile canary up. No step loses a request.

  CANARY_SECONDS         seconds of the comparison; 0: since the start of both (60)
  CANARY_MIN_REQUESTS    predictions that the challenger must have answered in that time (100)
  CANARY_MAX_ERRORS      percentage points by which its share of 5xx answers may exceed the champion's (0.5)
  CANARY_MAX_LATENCY     limit of its 95th percentile: this multiple of the champion's, plus 5 ms (1.5)
  NAMESPACE              on a cluster (iris)
"""

# macOS has Python 3.9, and an operator's machine has no packages of this project.
from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

CHAMPION, CHALLENGER = "flask-api", "flask-api-canary"
LIMITS = {"CANARY_SECONDS": "60", "CANARY_MIN_REQUESTS": "100", "CANARY_MAX_ERRORS": "0.5", "CANARY_MAX_LATENCY": "1.5"}
SCRAPE = """import os, urllib.request as u
print(u.urlopen("http://127.0.0.1:" + os.environ["API_PORT"] + "/metrics", timeout=10).read().decode())"""


class CanaryError(Exception):
    """A failure that ends the command, with its sentence."""


def say(sentence: str) -> None:
    print(f"==> {sentence}", flush=True)


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Cluster:
    """The current cluster of kubectl."""

    command = "k8s/canary.py"

    def __init__(self) -> None:
        self.kubectl = ("kubectl", "-n", os.environ.get("NAMESPACE") or "iris")

    def replicas(self, track: str) -> list[str]:
        pods = ("get", "pods", "-l", f"app.kubernetes.io/name={track}")
        return output(*self.kubectl, *pods, "--field-selector=status.phase=Running", "-o", "name").split()

    def metrics(self, replica: str) -> str:
        return output(*self.kubectl, "exec", replica, "-c", "flask-api", "--", "python", "-c", SCRAPE)

    def restarts(self) -> int:
        path = 'jsonpath={range .items[*]}{.status.containerStatuses[0].restartCount}{"\\n"}{end}'
        pods = ("get", "pods", "-l", f"app.kubernetes.io/name={CHALLENGER}", "-o", path)
        return sum(map(int, output(*self.kubectl, *pods).split()))

    def share(self) -> str:
        path = 'jsonpath={.spec.template.spec.containers[0].env[?(@.name=="CANARY_PERCENT")].value}'
        return output(*self.kubectl, "get", "deployment/nginx-server", "-o", path)

    def set_share(self, percent: str) -> None:
        run(*self.kubectl, "set", "env", "deployment/nginx-server", f"CANARY_PERCENT={percent}")
        self._wait("nginx-server")

    def promote(self) -> None:
        path = "jsonpath={.spec.template.spec.containers[0].image}"
        image = output(*self.kubectl, "get", f"deployment/{CHALLENGER}", "-o", path)
        run(*self.kubectl, "set", "image", f"deployment/{CHAMPION}", f"flask-api={image}")
        try:
            self._wait(CHAMPION)
        except subprocess.CalledProcessError:
            undo = f"{' '.join(self.kubectl)} rollout undo deployment/{CHAMPION}"
            raise CanaryError(f"the new champion does not become ready: {undo}, then: {self.command} abort") from None
        self.set_share("0")
        self._stop()
        say(
            f"{image} is now the champion's image. Set it for flask-api in your overlay's images and remove the "
            "component canary, or the next kubectl apply -k undoes this."
        )

    def abort(self) -> None:
        # The challenger first: Nginx sends its predictions to the champion as soon as it does not answer.
        self._stop()
        self.set_share("0")
        say(
            "the challenger is stopped. Remove the component canary from your overlay, or the next kubectl apply -k "
            "starts it again."
        )

    def _wait(self, deployment: str) -> None:
        run(*self.kubectl, "rollout", "status", f"deployment/{deployment}", "--timeout=300s")

    def _stop(self) -> None:
        run(*self.kubectl, "scale", f"deployment/{CHALLENGER}", "--replicas=0")


class Compose:
    """The stack of docker-compose.yaml."""

    command = "k8s/canary.py --compose"

    def __init__(self) -> None:
        version = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        compose = ("docker", "compose") if version.returncode == 0 else ("docker-compose",)
        self.compose = (*compose, "--profile", "canary")

    def replicas(self, track: str) -> list[str]:
        containers = output(*self.compose, "ps", "-q", track).split()
        return [container for container in containers if self._inspect(container, "{{.State.Running}}") == "true"]

    def metrics(self, replica: str) -> str:
        return output("docker", "exec", replica, "python", "-c", SCRAPE)

    def restarts(self) -> int:
        return sum(int(self._inspect(container, "{{.RestartCount}}")) for container in self.replicas(CHALLENGER))

    def share(self) -> str:
        script = (
            'if [ -e "$RUN_DIR/canary-off" ]; then echo 0; '
            'else cat "$RUN_DIR/canary-percent" 2>/dev/null || echo "${CANARY_PERCENT:-0}"; fi'
        )
        nginx = self.replicas("nginx-server")
        return output("docker", "exec", nginx[0], "sh", "-c", script) if nginx else ""

    def set_share(self, percent: str) -> None:
        for container in self.replicas("nginx-server"):
            try:
                run("docker", "exec", container, "sh", "/opt/nginx-server/reload.sh", percent)
            except subprocess.CalledProcessError:
                raise CanaryError("Nginx did not apply the share; the reason is above") from None

    def promote(self) -> None:
        old = self.replicas(CHAMPION)
        name = self._inspect(old[0], "{{.Config.Image}}")
        run("docker", "tag", self._inspect(self.replicas(CHALLENGER)[0], "{{.Image}}"), name)
        # Start new containers beside the old ones, then stop the old ones.
        scale = f"{CHAMPION}={2 * len(old)}"
        run(*self.compose, "up", "-d", "--no-deps", "--no-build", "--no-recreate", "--scale", scale, CHAMPION)
        for _ in range(120):
            health = [self._inspect(container, "{{.State.Health.Status}}") for container in self.replicas(CHAMPION)]
            if set(health) == {"healthy"}:
                break
            time.sleep(1)
        else:
            raise CanaryError(f"the new champion does not become healthy; see: docker compose logs {CHAMPION}")
        # Nginx resolves the name every 2 s.
        time.sleep(4)
        for container in old:
            output("docker", "stop", container)
            output("docker", "rm", container)
        self._stop()
        say(
            f"the challenger's image is now {name}. docker compose build overwrites {name} with the files of this "
            "folder, so change its training there (CANARY_TRAIN_OPTIONS)."
        )

    def abort(self) -> None:
        self._stop()
        say("the challenger is stopped. Start the stack with CANARY_PERCENT=0 from now on.")

    def _stop(self) -> None:
        # The file switches the challenger off without a reload, so that no connection is closed.
        for container in self.replicas("nginx-server"):
            run("docker", "exec", container, "sh", "-c", 'touch "$RUN_DIR/canary-off"')
        run(*self.compose, "stop", CHALLENGER)

    def _inspect(self, container: str, template: str) -> str:
        return output("docker", "inspect", "--format", template, container)


def parse(exposition: str) -> Counter[str]:
    """Return the sums over the POST requests of /metrics texts: requests, errors (5xx), "le BOUND" of each bucket."""
    counts: Counter[str] = Counter()
    pattern = r"^flask_api_request_duration_seconds_(bucket|count)\{(.*)\} (\S+)$"
    for kind, text, value in re.findall(pattern, exposition, re.MULTILINE):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', text))
        if labels.get("method") == "POST":
            counts[f"le {labels['le']}" if kind == "bucket" else "requests"] += int(float(value))
            counts["errors"] += int(float(value)) if kind == "count" and labels.get("status", "").startswith("5") else 0
    return counts


def since(before: Counter[str], now: Counter[str]) -> Counter[str]:
    """Return what was added; a replica that started in between counts from 0."""
    return Counter({key: count - before[key] if count >= before[key] else count for key, count in now.items()})


def error_percent(counts: Counter[str]) -> float:
    return round(100 * counts["errors"] / counts["requests"], 2) if counts["requests"] else 0.0


def quantile_ms(counts: Counter[str], q: float) -> float:
    """Return a quantile in ms, interpolated within its bucket as Prometheus does."""
    rank = q * counts["le +Inf"]
    low = below = 0.0
    for bound, count in sorted((float(key[3:]), count) for key, count in counts.items() if key.startswith("le ")):
        if rank and count >= rank:
            width = 0.0 if math.isinf(bound) else (bound - low) * (rank - below) / (count - below)
            return round((low + width) * 1000, 1)
        low, below = bound, count
    return 0.0


def limits() -> dict[str, float]:
    """Return the variables CANARY_* above, or their defaults."""
    values = {}
    for name, default in LIMITS.items():
        text = os.environ.get(name) or default
        if not re.fullmatch(r"[0-9]*\.?[0-9]+", text):
            raise CanaryError(f"{name} is '{text}', but must be a number such as {default}")
        values[name] = float(text)
    return values


def reasons_against(
    champion: Counter[str], challenger: Counter[str], restarts: int, limits: dict[str, float]
) -> Iterator[str]:
    if restarts > 0:
        yield f"the challenger was restarted {restarts} times"
    if challenger["requests"] < limits["CANARY_MIN_REQUESTS"]:
        required = f"{limits['CANARY_MIN_REQUESTS']:g} are required"
        yield f"the challenger answered {challenger['requests']} predictions, and {required}"
    if not champion["requests"]:
        yield "the champion answered no predictions to compare with"
    bad, good = error_percent(challenger), error_percent(champion)
    if bad > good + limits["CANARY_MAX_ERRORS"]:
        yield f"the challenger fails {bad:.2f}% of its requests, the champion {good:.2f}%"
    slow, fast = quantile_ms(challenger, 0.95), quantile_ms(champion, 0.95)
    if slow > limits["CANARY_MAX_LATENCY"] * fast + 5:
        yield f"the challenger takes {slow:.1f} ms (95th percentile), the champion {fast:.1f} ms"


def counts(engine: Cluster | Compose, track: str) -> Counter[str]:
    try:
        return parse("\n".join(engine.metrics(replica) for replica in engine.replicas(track)))
    except subprocess.CalledProcessError:
        raise CanaryError(f"{track} returns no metrics; try again, or: {engine.command} abort") from None


def compare(engine: Cluster | Compose) -> str:
    """Print a table of both tracks over the same time, and return the reasons against a promotion."""
    bounds = limits()
    seconds = bounds["CANARY_SECONDS"]
    if not engine.replicas(CHAMPION):
        raise CanaryError("no champion runs here; start the stack first")
    if not engine.replicas(CHALLENGER):
        how = "apply the component canary, or start Compose with CANARY_PERCENT=10 and --profile canary"
        raise CanaryError(f"no challenger runs here; {how}")
    before = [counts(engine, track) if seconds else Counter[str]() for track in (CHAMPION, CHALLENGER)]
    time.sleep(seconds)
    now = [counts(engine, track) for track in (CHAMPION, CHALLENGER)]
    champion, challenger = map(since, before, now)
    print(f"{'track':11} {'requests':>9} {'errors':>7} {'percent':>8} {'p50_ms':>8} {'p95_ms':>8}")
    for name, track in (("champion", champion), ("challenger", challenger)):
        percent, p50, p95 = error_percent(track), quantile_ms(track, 0.5), quantile_ms(track, 0.95)
        print(f"{name:11} {track['requests']:9} {track['errors']:7} {percent:8.2f} {p50:8.1f} {p95:8.1f}")
    say(f"share: {engine.share()}%, watched: {f'{seconds:g} s' if seconds else 'since the start'}")
    return "; ".join(reasons_against(champion, challenger, engine.restarts(), bounds))


def main(arguments: list[str]) -> None:
    if arguments[-1:] in (["-h"], ["--help"]):
        print(__doc__, end="")
        return
    engine: Cluster | Compose = Cluster()
    if arguments[:1] == ["--compose"]:
        engine, arguments = Compose(), arguments[1:]
    if arguments == ["status"]:
        reasons = compare(engine)
        say(f"the challenger may not be promoted: {reasons}" if reasons else "the challenger may be promoted")
    elif arguments == ["promote"]:
        if reasons := compare(engine):
            raise CanaryError(f"not promoted: {reasons}. Wait, or: {engine.command} abort")
        engine.promote()
    elif arguments == ["abort"]:
        engine.abort()
    elif len(arguments) == 2 and arguments[0] == "share":
        percent = arguments[1]
        if not re.fullmatch("[0-9]|[1-9][0-9]|100", percent):
            raise CanaryError(f"the share is '{percent}', but must be a whole number from 0 to 100")
        engine.set_share(percent)
        say(f"{percent}% of the predictions go to the challenger")
    else:
        raise CanaryError("name a command: status, share PERCENT, promote or abort (see --help)")


if __name__ == "__main__":
    # Compose reads docker-compose.yaml of this folder.
    os.chdir(Path(__file__).resolve().parents[1])
    try:
        main(sys.argv[1:])
    except CanaryError as error:
        sys.exit(f"canary: {error}")
    except subprocess.CalledProcessError as error:
        print(f"canary: {error.cmd[0]} failed; the reason is above", file=sys.stderr)
        sys.exit(error.returncode)
    except FileNotFoundError as error:
        print(f"canary: {error.filename} is not installed", file=sys.stderr)
        sys.exit(127)
    except KeyboardInterrupt:
        sys.exit(130)
