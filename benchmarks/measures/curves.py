"""Measure how cost grows with connections, rows, trees and features."""

from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks import forms
from benchmarks.forms import ARROW, CSV, Form
from benchmarks.http_client import send_file
from benchmarks.in_process import seconds_a_row
from benchmarks.measures.context import Context
from benchmarks.measures.direct import require_all_good
from benchmarks.names import BY_CONNECTIONS, BY_FEATURES, BY_ROWS, BY_TREES, IN_PROCESS, OURS
from benchmarks.random_model import RandomWork
from benchmarks.running import Running
from benchmarks.tables import write_table

CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
JSON_ROWS = (1, 10, 100, 1000, 10_000, 100_000)
FILE_ROWS = (1000, 10_000, 100_000, 1_000_000, 10_000_000)
TREES = (10, 100, 1000, 10_000)
FEATURES = (4, 20, 100, 500)
_BATCH = 1000
_MAX_BODY = 4_194_304
"""Our server's limit of rows for JSON; larger requests are files."""


def measure_connections(context: Context) -> None:
    """Measure one row a request at 1 to 1,000 connections, for ours and the two FastAPIs among the chosen servers."""

    def measure(running: Running) -> None:
        running.row_load(16, context.seconds(1.5))
        for connections in CONNECTIONS:
            load = running.row_load(connections, context.seconds(2.0))
            context.samples.add(BY_CONNECTIONS, running.server.name, connections, **load.values())

    context.interleaved(measure, OURS, "fastapi", "fastapi-onnx", rounds=1)


def measure_rows(context: Context) -> None:
    """Measure our server with 1 to 100,000 rows of JSON, and 1,000 to 10,000,000 of CSV and Arrow, and one client."""

    def measure(running: Running) -> None:
        for name, form in running.server.many.items():
            for count in JSON_ROWS:
                rows = context.work.many(count)
                if len(form.body(rows)) > _MAX_BODY:
                    continue
                load = running.load(form, rows, 1, context.seconds(1.5))
                require_all_good(load, f"{name} of {count} rows")
                context.samples.add(BY_ROWS, OURS, f"{name}: {count}", rows_per_second=load.rate * count)
        for name, kind in (("CSV", CSV), ("Arrow", ARROW)):
            for count in FILE_ROWS[:3] if context.quick else FILE_ROWS:
                path = write_table(context.work, kind, count)
                # The first file of a worker loads pyarrow.
                repeats = 1 if count > 100_000 else 3
                fastest = min(send_file(running.url, path, kind).seconds for _ in range(repeats))
                path.unlink()
                context.samples.add(BY_ROWS, OURS, f"{name}: {count}", rows_per_second=count / fastest)

    context.interleaved(measure, OURS, rounds=1)


def measure_trees(context: Context) -> None:
    """Measure models of 10 to 10,000 trees on random tables of four features and two classes."""
    for trees in TREES[:2] if context.quick else TREES:
        _random_model(context, BY_TREES, trees, RandomWork(context.work.folder, trees=trees))


def measure_features(context: Context) -> None:
    """Measure models of 200 trees on random tables of 4 to 500 features and two classes."""
    for features in FEATURES[:2] if context.quick else FEATURES:
        work = RandomWork(context.work.folder, features, trees=200)
        _random_model(context, BY_FEATURES, features, work)


def _random_model(context: Context, measure: str, case: int, work: RandomWork) -> None:
    """Measure one row at 64 connections, and V2 binary of 1,000 rows, against XGBoost in this process."""
    for server in context.chosen(OURS):
        with context.part(f"{measure} {case}"):
            work.prepare()
            binary = forms.FILES["V2 binary"]
            row = Form("/predict", forms.row_array, forms.prediction)
            rows = work.many(_BATCH)
            with Running(replace(server, row=row, many={}), work) as running:
                running.check_form(binary, rows, work.predict(rows), "V2 binary")
                running.row_load(16, 1.0)
                began = running.process.cpu_seconds()
                load = running.row_load(64, context.seconds(2.0))
                cpu = (running.process.cpu_seconds() - began) / load.requests * 1e6
                one = running.row_load(1, context.seconds(1.0))
                many = running.load(binary, rows, 2, context.seconds(2.0))
            values = {**load.values(), "cpu_us": cpu, "p50_1_ms": one.p50_ms, "rows_per_second": many.rate * _BATCH}
            context.samples.add(measure, OURS, case, **values)
            matrix = rows.astype(np.float32)
            alone = partial(seconds_a_row, work.booster)
            context.samples.add(
                measure,
                IN_PROCESS,
                case,
                row_us=alone(matrix[:1], 500) * 1e6,
                rows_per_second=_BATCH / alone(matrix, 20),
            )
