"""Mark the tests that start processes or need containers, by the names in their code."""

import re
import subprocess
from functools import cache
from types import CodeType, FunctionType
from typing import Any

import pytest

# Packages that start processes when tests use them.
OWN = ("tests", "benchmarks", "local_stack")
CONTAINERS = re.compile(r"^tests/containers/|\[compose|for_compose")


def mark(item: pytest.Item) -> None:
    """Add the mark `containers` or `processes` where it belongs."""
    if CONTAINERS.search(item.nodeid):
        item.add_marker("containers")
        # The first one builds the images.
        item.add_marker(pytest.mark.timeout(900))
    elif not item.nodeid.startswith("tests/style/") and _runs_processes(item):
        item.add_marker("processes")


def _runs_processes(item: Any) -> bool:
    # A Parquet file is unpacked in a process of its own.
    if not item.nodeid.startswith("tests/unit/") or "parquet" in item.name or _starts_process(item.function):
        return True
    fixtures = (found[-1].func for found in item._fixtureinfo.name2fixturedefs.values())
    return any(_starts_process(fixture) for fixture in fixtures)


@cache
def _starts_process(thing: Any) -> bool:
    """Return whether a function, or one of the tests' own functions and classes that it names, starts a process."""
    if isinstance(thing, type):
        return any(_starts_process(member) for member in vars(thing).values() if isinstance(member, FunctionType))
    thing = getattr(thing, "__wrapped__", thing)
    if not isinstance(thing, FunctionType):
        return False
    names, codes = set(), [thing.__code__]
    for code in codes:
        names |= set(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    named = [thing.__globals__[name] for name in names if name in thing.__globals__]
    own = [
        value
        for value in named
        if str(getattr(value, "__module__", "")).startswith(("tests.", "benchmarks.", "local_stack."))
    ]
    return (
        any(value is subprocess for value in named)
        or "PARQUET" in names
        or any(_starts_process(value) for value in own if value is not thing and isinstance(value, type | FunctionType))
    )
