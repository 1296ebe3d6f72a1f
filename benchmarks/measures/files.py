"""Measure our server's binary tensors and files against XGBoost in process on as many cores."""

from benchmarks.forms import CSV, FILES
from benchmarks.http_client import send_file
from benchmarks.in_process import rows_per_second
from benchmarks.measures.context import Context
from benchmarks.measures.direct import require_all_good
from benchmarks.names import BINARY_ROWS, CSV_ROWS, IN_PROCESS, OURS
from benchmarks.running import CHECKED_MANY, Running
from benchmarks.servers import WORKERS
from benchmarks.tables import write_matrix, write_table
from benchmarks.work import BenchmarkError

BATCH = 100_000


def measure_binary(context: Context) -> None:
    """Measure V2 binary and Arrow of 100,000 rows at 2 clients, and inplace_predict of the same rows in 2 processes."""
    matrix = write_matrix(context.work, BATCH)
    rows = context.work.many(BATCH)

    def measure(running: Running) -> None:
        for name in ("V2 binary", "Arrow"):
            form = FILES[name]
            checked = context.work.many(CHECKED_MANY)
            running.check_form(form, checked, context.work.predict(checked), name)
            running.load(form, rows, 2, 1.0)
            load = running.load(form, rows, WORKERS, context.seconds(4.0))
            require_all_good(load, name)
            context.samples.add(BINARY_ROWS, OURS, name, rows_per_second=load.rate * BATCH, p50_ms=load.p50_ms)
        rate = rows_per_second(context.work, "matrix", matrix, context.seconds(3.0), WORKERS)
        context.samples.add(BINARY_ROWS, IN_PROCESS, "inplace_predict", rows_per_second=rate)

    context.interleaved(measure, OURS)


def measure_csv(context: Context) -> None:
    """Measure a CSV file of 1,000,000 rows with 1 and 2 clients, and pyarrow with inplace_predict in one process."""
    count = BATCH if context.quick else 1_000_000
    path = write_table(context.work, CSV, count)

    def measure(running: Running) -> None:
        checked = context.work.many(CHECKED_MANY)
        running.check_form(FILES["CSV"], checked, context.work.predict(checked), "CSV")
        for _ in range(1 if context.quick else 2):
            transfer = send_file(running.url, path, CSV)
            if transfer.answer_lines != count + 1:
                raise BenchmarkError(f"{count} rows of CSV were answered with {transfer.answer_lines} lines")
            context.samples.add(CSV_ROWS, OURS, "1 client", rows_per_second=count / transfer.seconds)
        rate = rows_per_second(context.work, "csv", path, context.seconds(3.0), 1)
        context.samples.add(CSV_ROWS, IN_PROCESS, "pyarrow and inplace_predict", rows_per_second=rate)

    context.interleaved(measure, OURS)
