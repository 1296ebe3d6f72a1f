"""The project's goals for speed and memory, and the measured figure of each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

from scipy.stats import linregress

from benchmarks import names
from benchmarks.names import IN_PROCESS, OURS
from benchmarks.samples import Samples

_GROWTH_MB = 0.5
"""MB over a million requests that do not count as growth, even if the slope is significant."""
_CLIFF = 2.0
"""A step of a curve that costs this many times the expected amount is a cliff."""

Value = float | None
Figure = tuple[str, str, object, str]
"""Measure, server, case, name: the arguments of `Samples.median`."""


@dataclass(frozen=True)
class Goal:
    """A bound on a measured figure, which is None if a part of it was not measured."""

    text: str
    sign: Literal[">=", "<=", "<"]
    bound: float
    measure: Callable[[Samples], Value]
    digits: int = 2
    unit: str = ""

    def met(self, value: float) -> bool:
        """Return whether the bound holds."""
        return {">=": value >= self.bound, "<=": value <= self.bound, "<": value < self.bound}[self.sign]


def ratio(above: Value, below: Value) -> Value:
    """Return above / below; None unless both were measured."""
    return None if above is None or not below else above / below


def quotient(above: Figure, below: Figure) -> Callable[[Samples], Value]:
    """Return the quotient of two medians."""
    return lambda samples: ratio(samples.median(*above), samples.median(*below))


def against(measure: str, peer: str, case: object, name: str) -> Callable[[Samples], Value]:
    """Return our median over a peer's."""
    return quotient((measure, OURS, case, name), (measure, peer, case, name))


def own(measure: str, case: object, name: str) -> Callable[[Samples], Value]:
    """Return our median."""
    return lambda samples: samples.median(measure, OURS, case, name)


def best_other(samples: Samples, clients: int) -> tuple[str, float] | None:
    """Return the peer with the most JSON rows a second, and that rate."""
    found = [
        (value, name)
        for name in samples.servers(names.MANY_ROWS)
        for case in samples.cases(names.MANY_ROWS, name)
        if name != OURS and case.endswith(f", {clients}")
        for value in [samples.median(names.MANY_ROWS, name, case, "rows_per_second")]
        if value is not None
    ]
    return (max(found)[1], max(found)[0]) if found else None


def _json_rows(form: str, clients: int) -> Callable[[Samples], Value]:
    def measure(samples: Samples) -> Value:
        best = best_other(samples, clients)
        return ratio(
            samples.median(names.MANY_ROWS, OURS, f"{form}, {clients}", "rows_per_second"), best[1] if best else None
        )

    return measure


def _binary(form: str) -> Callable[[Samples], Value]:
    alone = (names.BINARY_ROWS, IN_PROCESS, "inplace_predict", "rows_per_second")
    return quotient((names.BINARY_ROWS, OURS, form, "rows_per_second"), alone)


_csv = quotient(
    (names.CSV_ROWS, OURS, "1 client", "rows_per_second"),
    (names.CSV_ROWS, IN_PROCESS, "pyarrow and inplace_predict", "rows_per_second"),
)
_goodput = quotient((names.OVERLOAD, OURS, names.TWICE, "goodput"), (names.OVERLOAD, OURS, names.TWICE, "capacity"))


def growth(samples: Samples) -> tuple[float, float] | None:
    """Return the slope of the memory in MB per million requests, and its standard error."""
    points: list[dict[str, float]] = []
    for sample in samples.all:
        if sample.measure == names.MEMORY:
            # A restarted server has a line of its own.
            points = []
        elif sample.measure == names.GROWTH:
            points.append(sample.values)
    if len(points) < 3:
        return None
    trend = linregress([point["requests"] / 1e6 for point in points], [point["pss_mb"] for point in points])
    return trend.slope, trend.stderr


def _sure_growth(samples: Samples) -> Value:
    """Return by how much the slope exceeds twice its error."""
    found = growth(samples)
    return None if found is None else max(0.0, found[0] - 2 * found[1])


def _not_answered(samples: Samples) -> Value:
    values = [samples.median(names.OVERLOAD, OURS, names.TWICE, name) for name in ("other", "timeouts", "held")]
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def steps(samples: Samples, measure: str, name: str, growing: bool) -> list[tuple[str, float]]:
    """Return each step of a curve with its cost divided by the expected cost.

    growing: the rate should grow or stay as the case grows (rows, connections); else cost may grow as much as the case
    does (trees, features), so that the rate may fall as much.
    """
    found = []
    for series in dict.fromkeys(case.rpartition(": ")[0] for case in samples.cases(measure, OURS)):
        cases = [case for case in samples.cases(measure, OURS) if case.rpartition(": ")[0] == series]
        for before, after in pairwise(cases):
            slowdown = ratio(samples.median(measure, OURS, before, name), samples.median(measure, OURS, after, name))
            allowed = 1.0 if growing else float(after) / float(before)
            if slowdown is not None:
                found.append((f"{before} to {after.rpartition(': ')[2]}", slowdown / allowed))
    return found


def waiting_steps(samples: Samples) -> list[tuple[str, float]]:
    """Return each step of the p99 over connections, divided by linear growth; a p99 below 20 ms is noise."""
    found = []
    for before, after in pairwise(samples.cases(names.BY_CONNECTIONS, OURS)):
        waits = [samples.median(names.BY_CONNECTIONS, OURS, case, "p99_ms") for case in (before, after)]
        longer = ratio(waits[1], max(20.0, waits[0] or 0.0))
        if longer is not None:
            found.append((f"{before} to {after}", longer * float(before) / float(after)))
    return found


def _worst_step(samples: Samples) -> Value:
    curves = [(names.BY_CONNECTIONS, "rate", True), (names.BY_ROWS, "rows_per_second", True)]
    curves += [(names.BY_TREES, "rows_per_second", False), (names.BY_FEATURES, "rows_per_second", False)]
    found = [[step for _, step in steps(samples, *curve)] for curve in curves]
    found[0] += [step for _, step in waiting_steps(samples)]
    # A curve that was not measured may have a cliff.
    return max(map(max, found)) if all(found) else None


_FIRST = "plain FastAPI"
_TUNED = "tuned FastAPI + ONNX Runtime"
_FORMS = ("instances, arrays", "instances, objects", "V2 JSON")

_one_row, _edge = partial(against, names.ONE_ROW), partial(against, names.EDGE)
_memory = own(names.MEMORY, names.AFTER_FIRST, "pss_mb")
_beside_files = own(names.FAIRNESS, names.BESIDE_FILES, "p99_ms")

GOALS = [
    Goal(f"one row, 64 connections: requests/s against {_FIRST}", ">=", 3.5, _one_row("fastapi", 64, "rate")),
    Goal(f"the same against {_TUNED}", ">=", 1.4, _one_row("fastapi-onnx", 64, "rate")),
    Goal(f"its p99 against {_FIRST}", "<", 1.0, _one_row("fastapi", 64, "p99_ms")),
    Goal(f"its p99 against {_TUNED}", "<", 1.0, _one_row("fastapi-onnx", 64, "p99_ms")),
    Goal(f"its CPU a request against {_FIRST}", "<=", 0.25, _one_row("fastapi", 64, "cpu_us")),
    Goal(f"one row, 1 connection: p50 against {_FIRST}", "<=", 0.35, _one_row("fastapi", 1, "p50_ms")),
    Goal(f"through Nginx with TLS, 64: requests/s against {_FIRST}", ">=", 3.0, _edge("fastapi", 64, "rate")),
    *(
        Goal(
            f"JSON of 10,000 rows ({form}), {clients} client{'s' * (clients - 1)}: rows/s against the best peer",
            ">=",
            3.0,
            _json_rows(form, clients),
        )
        for form in _FORMS
        for clients in (1, 2)
    ),
    Goal("V2 binary of 100,000 rows: rows/s against in-process inplace_predict", ">=", 1.0, _binary("V2 binary")),
    Goal("Arrow of 100,000 rows: the same", ">=", 1.0, _binary("Arrow")),
    Goal("CSV streaming: rows/s against pyarrow's reader and inplace_predict", ">=", 0.7, _csv),
    Goal("memory after 100,000 requests, all processes", "<=", 130.0, _memory, 1, "MB"),
    Goal("its growth over 1,000,000 requests, above twice the slope's error", "<=", _GROWTH_MB, _sure_growth, 2, "MB"),
    Goal("cold start until /ready is 200", "<=", 1.0, own(names.COLD_START, names.READY, "seconds"), 2, "s"),
    Goal("one row beside two files of 1,000,000 rows, 16 connections: p99", "<", 50.0, _beside_files, 1, "ms"),
    Goal("overload: good answers/s against the capacity", ">=", 0.9, _goodput),
    Goal("overload: requests with neither 200 nor a proper 503", "<=", 0.0, _not_answered, 0),
    Goal("overload: recovery", "<=", 2.0, own(names.OVERLOAD, names.TWICE, "recovery_seconds"), 2, "s"),
    Goal("curves: cost of the worst step, divided by the expected cost", "<=", _CLIFF, _worst_step),
]
