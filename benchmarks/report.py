"""The results of a run, as Markdown."""

import collections
import datetime

from benchmarks import machine, tables_markdown
from benchmarks.goals import GOALS, best_other, growth
from benchmarks.samples import FOREIGN_LIMIT, Samples
from benchmarks.servers import Server
from benchmarks.tables_markdown import number, table

_HEAD = """# Results

Made by `make bench`; do not edit. Medians of {rounds}, round by round and server by server, so that a drift of the
machine affects all equally. The servers share the cores with wrk. Figures depend on this machine; the ratios in
the first table are the project's goals. The figures are explained in [docs/performance.md](../docs/performance.md).

- {date}, commit {commit}
- {machine}
- {programs}"""

_PLOTS = """Plots: [one row](plots/one-row.svg), [connections](plots/connections.svg), [rows](plots/rows.svg),
[trees](plots/trees.svg), [features](plots/features.svg), [memory](plots/memory.svg)."""


def markdown(samples: Samples, servers: dict[str, Server], failures: dict[str, str]) -> str:
    """Goals, tables, settings, versions."""
    counts = collections.Counter((sample.measure, sample.server, sample.case) for sample in samples.all)
    rounds = max(counts.values(), default=0)
    head = _HEAD.format(
        rounds="one round" if rounds == 1 else f"{rounds} rounds",
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=machine.commit(),
        machine=machine.description(),
        programs=f"{machine.program_version('wrk', '-v')}; {machine.program_version('sh', '-c', _NGINX_VERSION)}",
    )
    parts = [
        head,
        _foreign(samples),
        goals(samples),
        _PLOTS,
        *tables_markdown.tables(samples, servers),
        _settings(servers),
    ]
    if failures:
        parts.append("## Not measured\n\n" + "\n".join(f"- {what}: {why}" for what, why in failures.items()))
    return "\n\n".join(part for part in parts if part) + "\n"


def _foreign(samples: Samples) -> str:
    shares = [sample.values["foreign"] for sample in samples.all if "foreign" in sample.values]
    if not shares:
        return ""
    above = sum(share > FOREIGN_LIMIT for share in shares)
    if not above:
        return f"Other processes used at most {max(shares):.1%} of the machine during a load."
    return (
        f"DISTURBED: others used more than {FOREIGN_LIMIT:.0%} of the machine in {above} of {len(shares)} loads,"
        f" up to {max(shares):.0%}. The medians leave out such rounds if an undisturbed one exists; otherwise they are"
        " unreliable: stop other programs, and measure again."
    )


def goals(samples: Samples) -> str:
    """Goal, measured, met."""
    rows = []
    for goal in GOALS:
        value = goal.measure(samples)
        bound = f"{goal.sign} {number(goal.bound, goal.digits)} {goal.unit}".strip()
        if value is None:
            rows.append([goal.text, bound, "-", "not measured"])
        else:
            measured = f"{number(value, goal.digits)} {goal.unit}".strip()
            rows.append([goal.text, bound, measured, "yes" if goal.met(value) else "NO"])
    notes = []
    for clients in (1, 2):
        best = best_other(samples, clients)
        if best:
            notes.append(f"best peer at {clients}: {best[0]}, {best[1] / 1e6:.2f} million rows/s")
    slope = growth(samples)
    if slope:
        notes.append(f"memory's slope: {slope[0]:+.2f} MB over a million requests, standard error {slope[1]:.2f}")
    text = f"## Goals\n\n{table(['goal', 'bound', 'measured', 'met'], rows)}"
    return text + (f"\n\n{'; '.join(notes)}." if notes else "")


_NGINX_VERSION = "PATH=$PATH:/usr/local/sbin:/usr/sbin nginx -v"


def _settings(servers: dict[str, Server]) -> str:
    rows = []
    for server in servers.values():
        found = machine.versions(server) if server.installed() else {}
        versions = ", ".join(f"{name} {version}" for name, version in found.items()) or "not installed"
        rows.append([server.title, server.setting, versions])
    text = (
        "Each peer has the same booster, answers checked against XGBoost's own on 150 rows one at a time and on 1,000"
        " at once before it is measured, and two workers unless stated otherwise. Its setting is the best that we found"
        " without changing code that its users would write:"
    )
    return f"## Settings and versions\n\n{text}\n\n{table(['server', 'setting', 'versions'], rows, numbers=False)}"
