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
    """Run the command; returns its exit status."""
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
        print("make bench: stopped; --add goes on with what was measured", file=sys.stderr)
        return 130
    text = report.markdown(samples, known, failures)
    print(text)
    options.output.write_text(text)
    if not options.quick:
        with context.part("plots"):
            _plot(work.folder / "samples.jsonl", options.output.parent / "plots")
    return 1 if failures else 0


def _set_up(wanted: Iterable[Server], plots: bool) -> None:
    """Make the environments that are missing; report one that cannot be made, which is missing later."""
    names = list(dict.fromkeys(server.environment for server in wanted if server.environment))
    # The tools draw, and make the ONNX file of a peer.
    if names or plots:
        subprocess.run(["sh", str(HERE / "setup.sh"), "tools", *names], check=False)


def _plot(samples: Path, folder: Path) -> None:
    """Beside the results; without matplotlib's environment there are none."""
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
    parser.add_argument("--rounds", type=int, default=0, help="times that each is measured; 0: 3, in quick mode 1")
    parser.add_argument("--quick", action="store_true", help="a second each, once: to see that it runs, not to compare")
    parser.add_argument(
        "--add", action="store_true", help="add to the samples of the run before instead of beginning anew"
    )
    parser.add_argument("--report-only", action="store_true", help="measure nothing; with --add, write the report anew")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="working tree that our own server is started from")
    parser.add_argument("--work", type=Path, default=HERE / ".run", help="folder for models, logs and samples")
    parser.add_argument("--output", type=Path, default=HERE / "RESULTS.md", help="file that the results are written to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
