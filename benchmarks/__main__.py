"""Measure our server and its peers: `python -m benchmarks`, or `make bench`."""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks import report, wrk
from benchmarks.measures import cold_start, curves, direct, edge, fairness, files, memory, overload, stalls
from benchmarks.measures.context import Context
from benchmarks.samples import Samples
from benchmarks.servers import Server, servers
from benchmarks.work import HERE, ROOT, BenchmarkError, Work, run, venv_python

MEASURES: dict[str, Callable[[Context], None]] = {
    "one-row": direct.measure_one_row,
    "edge": edge.measure_edge,
    "many-rows": direct.measure_many_rows,
    "binary": files.measure_binary,
    "csv": files.measure_csv,
    "cold-start": cold_start.measure_cold_start,
    "fairness": fairness.measure_fairness,
    "overload": overload.measure_overload,
    "stalls": stalls.measure_stalls,
    "memory": memory.measure_memory,
    "connections": curves.measure_connections,
    "rows": curves.measure_rows,
    "trees": curves.measure_trees,
    "features": curves.measure_features,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parser().parse_args(argv)
    work = Work(options.work.resolve())
    known = servers(options.checkout.resolve())
    failures: dict[str, str] = {}
    try:
        wrk.find()
        _set_up((known[name] for name in options.servers), plots=not options.quick)
        work.prepare()
        samples = Samples(work.folder / "samples.jsonl", keep=options.add)
        chosen = {name: known[name] for name in options.servers}
        for name in [name for name in chosen if not chosen[name].installed()]:
            failures[chosen.pop(name).title] = f"could not be installed: benchmarks/setup.sh {known[name].environment}"
        rounds = options.rounds or (1 if options.quick else 3)
        context = Context(work, samples, chosen, rounds, options.quick, failures)
        for name in [] if options.report_only else options.measures:
            context.say(f"measure: {name}")
            with context.part(name):
                MEASURES[name](context)
    except BenchmarkError as error:
        print(f"make bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make bench: stopped; --add continues with these samples", file=sys.stderr)
        return 130
    text = report.markdown(samples, known, failures)
    print(text)
    options.output.write_text(text)
    if not options.quick:
        with context.part("plots"):
            _plot(work.folder / "samples.jsonl", options.output.parent / "plots")
    return 1 if failures else 0


def _set_up(wanted: Iterable[Server], plots: bool) -> None:
    """Make the missing environments; setup.sh reports one that fails, and its server counts as not installed."""
    names = list(dict.fromkeys(server.environment for server in wanted if server.environment))
    # The tools draw the plots and convert the booster to ONNX.
    if names or plots:
        subprocess.run(["sh", str(HERE / "setup.sh"), "tools", *names], check=False)


def _plot(samples: Path, folder: Path) -> None:
    """Draw the plots beside the results, if matplotlib's environment exists."""
    if venv_python("tools").exists():
        run([str(venv_python("tools")), "-m", "benchmarks.plots", str(samples), str(folder)])


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    names = list(servers())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure our server and its peers side by side on this machine.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--servers", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--measures",
        nargs="+",
        choices=list(MEASURES),
        default=list(MEASURES),
        metavar="NAME",
        help=", ".join(MEASURES),
    )
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each measure; 0: 3, in quick mode 1")
    parser.add_argument("--quick", action="store_true", help="one round of a second each, as a smoke test")
    parser.add_argument("--add", action="store_true", help="add to the samples of the previous run")
    parser.add_argument(
        "--report-only", action="store_true", help="measure nothing; with --add, write the report again"
    )
    parser.add_argument("--checkout", type=Path, default=ROOT, help="working tree of our own server")
    parser.add_argument("--work", type=Path, default=HERE / ".run", help="folder for models, logs and samples")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md", help="file that the results are written to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
