"""Memory after 100,000 requests, and whether it grows over 1,000,000."""

from benchmarks.measures.context import Context
from benchmarks.names import AFTER_FIRST, GROWTH, MEMORY, OURS
from benchmarks.running import Running
from benchmarks.work import BenchmarkError

FIRST = 100_000
LAST = 1_000_000
_SLICES = 20
_CONNECTIONS = 64


def measure_memory(context: Context) -> None:
    """PSS of all processes after each slice of the requests, of our server."""
    for server in context.chosen(OURS):
        with Running(server, context.work) as running:
            first, last = (2000, 20_000) if context.quick else (FIRST, LAST)
            done = _load(running, 0, first)
            context.samples.add(MEMORY, server.name, AFTER_FIRST, **_memory(running), requests=done)
            step = (last - first) / _SLICES
            for index in range(_SLICES):
                target = first + (index + 1) * step
                if done < target:
                    done = _load(running, done, target)
                    context.samples.add(GROWTH, server.name, done, **_memory(running), requests=done)
            context.say(f"{done:,} requests: {running.process.pss_megabytes():.1f} MB")


def _memory(running: Running) -> dict[str, float]:
    return {"pss_mb": running.process.pss_megabytes(), "processes": len(running.process.tree())}


def _load(running: Running, done: float, target: float) -> float:
    """Load until at least `target` requests are done in all; returns how many are."""
    rate = 0.0
    while done < target:
        # The first second shows how long the remaining requests will take.
        seconds = min(20.0, max(1.0, (target - done) / rate)) if rate else 1.0
        load = running.row_load(_CONNECTIONS, seconds)
        if load.not_2xx or load.failed:
            raise BenchmarkError(f"{load.not_2xx + load.failed} of {load.requests} requests got no good answer")
        rate = load.rate
        done += load.requests
    return done
