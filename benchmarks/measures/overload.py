"""Twice the capacity offered for 30 s: what is answered, what is shed and how, and when latency is normal again."""

import json
import sys
from typing import Any

import numpy as np

from benchmarks.measures.context import Context
from benchmarks.names import OURS, OVERLOAD, TWICE
from benchmarks.open_loop import BUCKET_SECONDS, http_requests
from benchmarks.running import Running
from benchmarks.work import run

_CALM_SHARE = 0.1
_NORMAL_MS = 10.0


def measure_overload(context: Context) -> None:
    """Our server with one worker: on two cores the open-loop client needs the other to offer twice the capacity."""
    for server in context.chosen(OURS):
        with Running(server, context.work, WEB_CONCURRENCY="1") as running:
            _overload(context, running)


def _overload(context: Context, running: Running) -> None:
    running.row_load(64, 1.0)
    capacity = running.row_load(64, context.seconds(5.0)).rate
    form = running.server.row
    bodies = [form.body(row[None]) for row in context.work.iris]
    requests = [request.decode() for request in http_requests(form.path, form.content_type, bodies)]
    file = context.work.body("open-loop", json.dumps(requests).encode())
    before, during, after = 3.0, 3.0 if context.quick else 30.0, 6.0
    calm = capacity * _CALM_SHARE
    phases = [f"{calm}:{before}", f"{2 * capacity}:{during}", f"{calm}:{after}"]
    command = [sys.executable, "-m", "benchmarks.open_loop", "127.0.0.1", str(running.port), str(file), *phases]
    began = running.process.cpu_seconds()
    buckets: list[dict[str, Any]] = json.loads(run(command))
    cpu = running.process.cpu_seconds() - began
    first, last = round(before / BUCKET_SECONDS), round((before + during) / BUCKET_SECONDS)
    busy = buckets[first:last]
    names = ("sent", "good", "shed", "other", "timeouts", "held")
    total = {name: sum(bucket[name] for bucket in busy) for name in names}
    good_ms = [ms for bucket in busy for ms in bucket["good_ms"]]
    shed_ms = [ms for bucket in busy for ms in bucket["shed_ms"]]
    usual = float(np.median([_p99(bucket) for bucket in buckets[2:first]]))
    context.samples.add(
        OVERLOAD,
        running.server.name,
        TWICE,
        capacity=capacity,
        offered=total.pop("sent") / during,
        goodput=total.pop("good") / during,
        **total,
        good_p99_ms=float(np.percentile(good_ms, 99)) if good_ms else 0.0,
        shed_p99_ms=float(np.percentile(shed_ms, 99)) if shed_ms else 0.0,
        usual_p99_ms=usual,
        recovery_seconds=recovery_seconds(buckets[last:], max(_NORMAL_MS, 3 * usual)),
        server_cpu_seconds=cpu,
    )


def recovery_seconds(buckets: list[dict[str, Any]], normal_ms: float) -> float:
    """Seconds until every later quarter of a second has only good answers and a p99 of at most normal_ms.

    Infinite if that never comes.
    """
    calm_from = len(buckets)
    for index in range(len(buckets) - 1, -1, -1):
        bucket = buckets[index]
        if bucket["shed"] or bucket["other"] or bucket["timeouts"] or _p99(bucket) > normal_ms:
            break
        calm_from = index
    return calm_from * BUCKET_SECONDS if calm_from < len(buckets) else float("inf")


def _p99(bucket: dict[str, Any]) -> float:
    return float(np.percentile(bucket["good_ms"], 99)) if bucket["good_ms"] else 0.0
