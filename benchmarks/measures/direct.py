"""One row a request at 1, 16 and 64 connections, and JSON of 10,000 rows at 1 and 2 clients, straight to the server."""

from benchmarks.measures.context import Context
from benchmarks.names import COLD_START, FIRST_ANSWER, MANY_ROWS, ONE_ROW, ROW_CONNECTIONS
from benchmarks.running import Running
from benchmarks.work import BenchmarkError
from benchmarks.wrk import Load

CLIENTS = (1, 2)
MANY = 10_000


def measure_one_row(context: Context) -> None:
    """Requests a second, percentiles, processor time a request and memory."""
    context.interleaved(lambda running: _one_row(context, running))


def measure_many_rows(context: Context) -> None:
    """Rows a second in the form that is natural for each server."""
    names = [server.name for server in context.servers.values() if server.many]
    context.interleaved(lambda running: _many_rows(context, running), *names)


def _one_row(context: Context, running: Running) -> None:
    context.samples.add(COLD_START, running.server.name, FIRST_ANSWER, seconds=running.start_seconds)
    running.row_load(16, context.seconds(1.5))
    for connections in ROW_CONNECTIONS:
        began = running.process.cpu_seconds()
        load = running.row_load(connections, context.seconds(4.0 if connections == 64 else 3.0))
        cpu = (running.process.cpu_seconds() - began) / load.requests * 1e6
        require_all_good(load, running.server.title)
        values = {**load.values(), "cpu_us": cpu, "pss_mb": running.process.pss_megabytes()}
        context.samples.add(ONE_ROW, running.server.name, connections, **values)


def _many_rows(context: Context, running: Running) -> None:
    rows = running.work.many(MANY)
    for name, form in running.server.many.items():
        running.load(form, rows, 2, 1.0)
        for clients in CLIENTS:
            load = running.load(form, rows, clients, context.seconds(3.0))
            require_all_good(load, running.server.title)
            values = {**load.values(), "rows_per_second": load.rate * MANY}
            context.samples.add(MANY_ROWS, running.server.name, f"{name}, {clients}", **values)


def require_all_good(load: Load, title: str) -> None:
    """A server that rejects or drops requests under plain load has no figure to compare.

    Raises:
        BenchmarkError: more than one request in a thousand had no good answer.
    """
    bad = load.not_2xx + load.failed
    if bad > load.requests / 1000:
        raise BenchmarkError(f"{title} gave no good answer to {bad} of {load.requests} requests")
