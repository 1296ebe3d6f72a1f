"""Measure how long one row waits while two clients upload files of 1,000,000 rows."""

import time

from benchmarks.forms import CSV
from benchmarks.measures.context import Context
from benchmarks.names import BESIDE_FILES, FAIRNESS, OURS
from benchmarks.processes import Process
from benchmarks.running import Running
from benchmarks.tables import write_table
from benchmarks.work import ROOT, BenchmarkError

CONNECTIONS = 16
_STREAMS = 2


def measure_fairness(context: Context) -> None:
    """Measure percentiles of one row at 16 connections of our server, without and with the files."""
    path = write_table(context.work, CSV, 1_000_000)
    python = str(ROOT / ".venv" / "bin" / "python")

    def measure(running: Running) -> None:
        seconds = context.seconds(10.0)
        running.row_load(CONNECTIONS, 1.0)
        context.samples.add(FAIRNESS, OURS, "alone", **running.row_load(CONNECTIONS, seconds / 2).values())
        command = [python, "-m", "benchmarks.stream", running.url, CSV, str(path), str(_STREAMS)]
        with Process(command, {}, context.work.log("stream")) as streams:
            time.sleep(1.0)
            load = running.row_load(CONNECTIONS, seconds)
            if streams.process.poll() is not None:
                raise BenchmarkError(f"the files could not be streamed: {streams.tail()}")
        files = sum(line.startswith("file") for line in context.work.log("stream").read_text().splitlines())
        context.samples.add(FAIRNESS, OURS, BESIDE_FILES, **load.values(), files=files)

    context.interleaved(measure, OURS)
