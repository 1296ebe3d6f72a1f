"""Draw a run's samples, in the tools' environment: `python -m benchmarks.plots SAMPLES FOLDER`."""

import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib import pyplot

from benchmarks.names import BY_CONNECTIONS, BY_FEATURES, BY_ROWS, BY_TREES, GROWTH, ONE_ROW
from benchmarks.samples import Samples

Series = tuple[str, list[float], list[float]]


def main(samples_file: str, folder: str) -> None:
    """Write one SVG for each measure that has samples."""
    samples = Samples(Path(samples_file), keep=True)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    # The same samples give the same file.
    matplotlib.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "figure.figsize": (7, 3.6)})
    plots: dict[str, Callable[[Samples], bool]] = {
        "one-row": _one_row,
        "connections": lambda found: _curves(found, BY_CONNECTIONS, "connections", "p99 ms", "p99_ms"),
        "rows": lambda found: _curves(found, BY_ROWS, "rows a request", "rows/s", "rows_per_second"),
        "trees": lambda found: _curves(found, BY_TREES, "trees", "rows/s, 1,000 a request", "rows_per_second"),
        "features": lambda found: _curves(found, BY_FEATURES, "features", "rows/s, 1,000 a request", "rows_per_second"),
        "memory": _memory,
    }
    for name, draw in plots.items():
        pyplot.figure()
        if draw(samples):
            pyplot.tight_layout()
            pyplot.savefig(target / f"{name}.svg", metadata={"Date": None})
        pyplot.close()


def _one_row(samples: Samples) -> bool:
    rates = {name: samples.median(ONE_ROW, name, 64, "rate") for name in samples.servers(ONE_ROW)}
    known = sorted((rate, name) for name, rate in rates.items() if rate is not None)
    bars = pyplot.barh([name for _, name in known], [rate for rate, _ in known])
    pyplot.bar_label(bars, fmt="{:,.0f}", padding=3)
    pyplot.xlabel("requests/s, one row each, 64 connections")
    pyplot.margins(x=0.15)
    return bool(known)


def _curves(samples: Samples, measure: str, x_label: str, y_label: str, value: str) -> bool:
    series = [found for server in samples.servers(measure) for found in _series(samples, measure, server, value)]
    for label, x, y in series:
        pyplot.loglog(x, y, marker="o", label=label)
    pyplot.xlabel(x_label)
    pyplot.ylabel(y_label)
    if series:
        pyplot.legend(fontsize="small")
    pyplot.grid(alpha=0.3)
    return bool(series)


def _series(samples: Samples, measure: str, server: str, value: str) -> list[Series]:
    """A case is a number, or a form and a number: `CSV: 1000`."""
    found: dict[str, Series] = {}
    for case in samples.cases(measure, server):
        form, _, number = case.rpartition(": ")
        values = samples.values(measure, server, case, value)
        if values:
            label = f"{server}, {form}" if form else server
            _, x, y = found.setdefault(label, (label, [], []))
            x.append(float(number))
            y.append(statistics.median(values))
    return list(found.values())


def _memory(samples: Samples) -> bool:
    points = [sample.values for sample in samples.all if sample.measure == GROWTH]
    pyplot.plot([point["requests"] / 1e6 for point in points], [point["pss_mb"] for point in points], marker="o")
    pyplot.xlabel("million requests")
    pyplot.ylabel("PSS MB, all processes")
    pyplot.ylim(bottom=0)
    pyplot.grid(alpha=0.3)
    return bool(points)


if __name__ == "__main__":
    main(*sys.argv[1:])
