"""Where the time of one row goes, before and after: `python -m benchmarks.flame [--before COMMIT]`.

Each of two checkouts of our server is loaded with one row a request at 64 connections; py-spy samples its busiest
worker. Writes flame-before.svg, flame-after.svg and PROFILE.md, which says how many microseconds of a request each part
costs.
"""

import argparse
import collections
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from benchmarks import flame_graph, machine
from benchmarks.processes import process_seconds
from benchmarks.running import Running
from benchmarks.servers import servers
from benchmarks.tables_markdown import table
from benchmarks.work import HERE, ROOT, BenchmarkError, Work, run, venv_python

_RATE = 500
# Threads that sleep; py-spy does not know it of all.
_WAITING = (
    "wait (threading.py",
    "Condition.wait (threading.py",
    "_worker (concurrent/futures/thread.py",
    "select (selectors",
)
_TOP = 30


@dataclass(frozen=True)
class Profile:
    """What py-spy saw of a worker, and what a request cost it."""

    stacks: dict[tuple[str, ...], int]
    """Samples of each stack, outermost frame first, each `function (file:line)`."""
    request_us: float


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flame", description=__doc__)
    parser.add_argument("--before", default="cb19d8c", help="commit to compare with; empty: none")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="working tree that is `after`")
    parser.add_argument("--seconds", type=int, default=10, help="how long each is sampled")
    parser.add_argument("--work", type=Path, default=HERE / ".run", help="folder for models and logs")
    parser.add_argument("--output", type=Path, default=HERE, help="folder for PROFILE.md and plots/")
    options = parser.parse_args()
    try:
        if subprocess.run(["sh", str(HERE / "setup.sh"), "tools"], check=False).returncode:
            raise BenchmarkError("the tools could not be installed (see above)")
        work = Work(options.work.resolve())
        work.prepare()
        checkouts = {"after": options.checkout.resolve()}
        if options.before:
            checkouts = {"before": _export(options.before, work.folder / "before"), **checkouts}
        profiles = {name: _profile(name, path, work, options) for name, path in checkouts.items()}
    except BenchmarkError as error:
        print(f"flame: {error}", file=sys.stderr)
        return 1
    names = {"before": options.before, "after": machine.commit()}
    text = "\n\n".join(_section(name, names[name], profile) for name, profile in profiles.items())
    (options.output / "PROFILE.md").write_text(f"{_HEAD}\n\n{text}\n")
    print(text)
    return 0


_HEAD = """# Where the time of one row goes

Made by `python -m benchmarks.flame`; do not edit. One row a request at 64 connections; py-spy samples the busiest
worker, and a share of the samples is a share of the processor time that a request takes (all of our processes, without
the client)."""


def _export(commit: str, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise BenchmarkError(f"commit {commit} cannot be read: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def _profile(name: str, checkout: Path, work: Work, options: argparse.Namespace) -> Profile:
    print(f"{name}: {checkout}", flush=True)
    with Running(servers(checkout)["ours"], work) as running:
        running.row_load(64, 2.0)
        seconds = float(options.seconds)
        load = threading.Thread(target=running.row_load, args=(64, seconds + 4))
        began = {pid: process_seconds(pid) for pid in running.process.tree()}
        load.start()
        threading.Event().wait(1.0)
        busiest = max(began, key=lambda pid: process_seconds(pid) - began[pid])
        plots = options.output / "plots"
        plots.mkdir(parents=True, exist_ok=True)
        raw = work.folder / f"{name}.stacks"
        py_spy = venv_python("tools").parent / "py-spy"
        command = ["-p", str(busiest), "-d", str(options.seconds), "-r", str(_RATE), "-f", "raw", "-o", str(raw)]
        run([str(py_spy), "record", *command])
        load.join()
        cpu = running.process.cpu_seconds()
        answered = running.row_load(64, 4.0)
        request_us = (running.process.cpu_seconds() - cpu) / answered.requests * 1e6
    stacks = _stacks(raw)
    scale = request_us / sum(stacks.values())
    weights = {stack: count * scale for stack, count in stacks.items()}
    title = f"{name}: {request_us:.0f} us of processor time a request"
    (plots / f"flame-{name}.svg").write_text(flame_graph.svg(weights, title, "us"))
    return Profile(stacks, request_us)


def _stacks(path: Path) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = collections.Counter()
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = tuple(stack.split(";"))
        if not frames[-1].startswith(_WAITING):
            found[frames] += int(count)
    return found


def _section(name: str, commit: str, profile: Profile) -> str:
    total = sum(profile.stacks.values())
    unit = profile.request_us / total
    own: collections.Counter[str] = collections.Counter()
    under: collections.Counter[str] = collections.Counter()
    for stack, count in profile.stacks.items():
        own[_package(stack[-1])] += count
        for function in {re.sub(r":\d+\)$", ")", frame) for frame in stack}:
            under[function] += count
    parts = [[package, f"{count * unit:.1f}"] for package, count in own.most_common(_TOP // 2)]
    # What everything runs under says nothing.
    telling = [(function, count) for function, count in under.most_common() if count < 0.97 * total][:_TOP]
    functions = [[f"`{function}`", f"{count * unit:.1f}"] for function, count in telling]
    return (
        f"## {name.capitalize()}: {commit}\n\n{profile.request_us:.0f} us of processor time a request."
        f" [Flame graph](plots/flame-{name}.svg)\n\n"
        f"{table(['package, without what it calls', 'us a request'], parts)}\n\n"
        f"{table(['function, with what it calls', 'us a request'], functions)}"
    )


def _package(frame: str) -> str:
    """The package or module that a frame `function (file:line)` belongs to."""
    path = frame.rpartition("(")[2].partition(":")[0].rstrip(")")
    parts = path.split("/")
    return parts[0] if len(parts) > 1 else path.removesuffix(".py")


if __name__ == "__main__":
    sys.exit(main())
