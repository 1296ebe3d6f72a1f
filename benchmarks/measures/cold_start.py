"""Seconds from a process's start until it can answer."""

from functools import partial

from benchmarks.http_client import is_ready
from benchmarks.measures.context import Context
from benchmarks.names import COLD_START, OURS, READY
from benchmarks.processes import Process, free_port


def measure_cold_start(context: Context) -> None:
    """Measure our server until /ready is 200; `direct.py` records each server's time to its first good answer."""
    for server in context.chosen(OURS):
        for _ in range(1 if context.quick else 5):
            port = free_port()
            command, environ = server.command(context.work, port), server.environ(context.work, port)
            with Process(command, environ, context.work.log(server.name), server.cwd) as process:
                ready = partial(is_ready, f"http://127.0.0.1:{port}")
                seconds = process.wait_until(ready, server.title, pause=0.005)
                context.samples.add(COLD_START, server.name, READY, seconds=seconds)
