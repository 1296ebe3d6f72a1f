"""The tables of a run."""

from benchmarks import names
from benchmarks.samples import Samples
from benchmarks.servers import Server

Column = tuple[str, object, str, int]
"""Heading, case, value, digits."""


def tables(samples: Samples, servers: dict[str, Server]) -> list[str]:
    """Return a section for each measure of the run."""
    one_row: list[Column] = [(f"req/s, {case}", case, "rate", 0) for case in names.ROW_CONNECTIONS]
    one_row += [("p50 ms, 1", 1, "p50_ms", 2), ("p99 ms, 16", 16, "p99_ms", 1), ("p99 ms, 64", 64, "p99_ms", 1)]
    one_row += [("CPU us a request, 64", 64, "cpu_us", 0), ("PSS MB", 64, "pss_mb", 0)]
    edge: list[Column] = [("req/s, 1", 1, "rate", 0), ("req/s, 64", 64, "rate", 0), ("p50 ms, 1", 1, "p50_ms", 2)]
    edge += [("p99 ms, 64", 64, "p99_ms", 1), ("CPU us, 64", 64, "cpu_us", 0), ("of it Nginx", 64, "nginx_cpu_us", 0)]
    start: list[Column] = [
        ("s until /ready", names.READY, "seconds", 2),
        ("s until an answer", names.FIRST_ANSWER, "seconds", 2),
    ]
    return [
        text
        for text in (
            _by_server(samples, servers, "One row a request, straight to the server", names.ONE_ROW, one_row),
            _by_server(samples, servers, "The same through the project's Nginx with TLS", names.EDGE, edge),
            _capacity(samples),
            _many_rows(samples, servers),
            _rows(samples, "Binary rows, 100,000 a request, two clients or processes", names.BINARY_ROWS),
            _rows(samples, "CSV of 1,000,000 rows", names.CSV_ROWS),
            _memory(samples),
            _by_server(samples, servers, "Cold start", names.COLD_START, start),
            _values(samples, names.FAIRNESS, "One row at 16 connections beside two streamed files"),
            _values(samples, names.OVERLOAD, "Twice the capacity of one worker for 30 s, open loop"),
            _values(samples, names.STALLS, "Milliseconds of one request beside stalled or expensive ones"),
            _values(samples, names.BY_CONNECTIONS, "One row, 1 to 1,000 connections"),
            _rows(samples, "1 to 10,000,000 rows, one client", names.BY_ROWS),
            _values(samples, names.BY_TREES, "10 to 10,000 trees, four features"),
            _values(samples, names.BY_FEATURES, "4 to 500 features, 200 trees"),
        )
        if text
    ]


def table(head: list[str], rows: list[list[str]], numbers: bool = True) -> str:
    """Return a Markdown table; columns of numbers, all but the first, are right-aligned."""
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]

    def line(cells: list[str]) -> str:
        pairs = enumerate(zip(cells, widths, strict=True))
        return f"| {' | '.join(c.rjust(w) if index and numbers else c.ljust(w) for index, (c, w) in pairs)} |"

    rule = ["-" * (width - 1) + ":" if index and numbers else "-" * width for index, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def number(value: float | None, digits: int = 0) -> str:
    """Return a formatted figure; a dash if nothing was measured."""
    return "-" if value is None else f"{value:,.{digits}f}"


def _section(title: str, head: list[str], rows: list[list[str]]) -> str:
    return f"## {title}\n\n{table(head, rows)}" if rows else ""


def _by_server(samples: Samples, servers: dict[str, Server], title: str, measure: str, columns: list[Column]) -> str:
    rows = [
        [
            servers[name].title,
            *(number(samples.median(measure, name, case, value), digits) for _, case, value, digits in columns),
        ]
        for name in servers
        if name in samples.servers(measure)
    ]
    return _section(title, ["server", *(heading for heading, *_ in columns)], rows)


def _capacity(samples: Samples) -> str:
    """Return the figures for the requests of Kubernetes."""
    api = samples.median(names.ONE_ROW, names.OURS, 64, "cpu_us")
    whole, proxy = (samples.median(names.EDGE, names.OURS, 64, name) for name in ("cpu_us", "nginx_cpu_us"))
    memory = samples.median(names.MEMORY, names.OURS, names.AFTER_FIRST, "pss_mb")
    figures = {
        "single rows a second per core of the API": api and 1e6 / api,
        "the same per core of Nginx with TLS": proxy and 1e6 / proxy,
        "the same per core that both share": whole and 1e6 / whole,
        "MB of the API with two workers after 100,000 requests": memory,
    }
    lines = [[what, number(figure)] for what, figure in figures.items() if figure]
    return _section("Capacity of our server", ["what", "figure"], lines)


def _many_rows(samples: Samples, servers: dict[str, Server]) -> str:
    rows = []
    for name in (name for name in servers if name in samples.servers(names.MANY_ROWS)):
        for form in dict.fromkeys(case.rpartition(", ")[0] for case in samples.cases(names.MANY_ROWS, name)):
            rates = [
                samples.median(names.MANY_ROWS, name, f"{form}, {clients}", "rows_per_second") for clients in (1, 2)
            ]
            rows.append([f"{servers[name].title}: {form}", *(_millions(rate) for rate in rates)])
    return _section("JSON of 10,000 rows", ["server and form", "million rows/s, 1 client", "2 clients"], rows)


def _rows(samples: Samples, title: str, measure: str) -> str:
    rows = [
        [f"{server}: {case}", _millions(samples.median(measure, server, case, "rows_per_second"))]
        for server in samples.servers(measure)
        for case in samples.cases(measure, server)
    ]
    return _section(title, ["what", "million rows/s"], rows)


def _memory(samples: Samples) -> str:
    points = [sample for sample in samples.all if sample.measure in (names.MEMORY, names.GROWTH)]
    # Ten points are enough for the table; the goal uses all.
    chosen = [*points[:1], *points[2::4]]
    rows = [[number(point.values["requests"]), number(point.values["pss_mb"], 1)] for point in chosen]
    return _section("Memory over requests", ["requests", "PSS MB, all processes"], rows)


def _values(samples: Samples, measure: str, title: str) -> str:
    """Return a table of every value of every case."""
    parts = []
    for server in samples.servers(measure):
        cases = samples.cases(measure, server)
        found = dict.fromkeys(
            name
            for sample in samples.all
            if (sample.measure, sample.server) == (measure, server)
            for name in sample.values
        )
        found.pop("foreign", None)
        dull = ("not_2xx", "failed")
        shown = [name for name in found if name not in dull or _any(samples, measure, server, name)]
        rows = [[case, *(_figure(samples.median(measure, server, case, name)) for name in shown)] for case in cases]
        parts.append(f"{server}:\n\n{table(['case', *(name.replace('_', ' ') for name in shown)], rows)}")
    return f"## {title}\n\n" + "\n\n".join(parts) if parts else ""


def _any(samples: Samples, measure: str, server: str, name: str) -> bool:
    return any(any(samples.values(measure, server, case, name)) for case in samples.cases(measure, server))


def _millions(rate: float | None) -> str:
    return number(rate / 1e6 if rate is not None else None, 4 if rate and rate < 1e5 else 2)


def _figure(value: float | None) -> str:
    return number(value, 2 if value is not None and value < 10 else 1 if value is not None and value < 100 else 0)
