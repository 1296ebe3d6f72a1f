"""Processor time that other processes than the measured ones used."""

import os
import resource
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """Processor time that all cores have spent since the machine's start, what a host took away included."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICK


def driver_seconds() -> float:
    """Processor time of this process and of those that it waited for, wrk above all."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def share(busy: float, known: float, seconds: float) -> float:
    """The share of all cores that went to others."""
    return max(0.0, (busy - known) / (seconds * (os.cpu_count() or 1)))
