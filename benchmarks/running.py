"""A running server that was verified to answer as XGBoost does."""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np

from benchmarks import foreign, wrk
from benchmarks.forms import Form, Rows
from benchmarks.http_client import post
from benchmarks.processes import Process, free_port
from benchmarks.servers import Server
from benchmarks.work import BenchmarkError, Work

CHECKED_MANY = 1000


@dataclass(frozen=True)
class Edge:
    """A running proxy."""

    process: Process
    url: str


class Running:
    """`with Running(server, work) as running`: started, checked, and ended afterwards."""

    def __init__(self, server: Server, work: Work, check: bool = True, **environ: str) -> None:
        self.server = server
        self.work = work
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._check = check
        env = {**server.environ(work, self.port), **environ}
        self.process = Process(server.command(work, self.port), env, work.log(server.name), server.cwd)
        self.start_seconds = 0.0
        """From the process's start to the first good answer to a row."""

    def __enter__(self) -> Self:
        self.process.__enter__()
        try:
            self.start_seconds = self.process.wait_until(self._answers, self.server.title, pause=0.02)
            if self._check:
                self.check()
        except BaseException:
            self.process.__exit__()
            raise
        return self

    def __exit__(self, *_: TracebackType | object) -> None:
        self.process.__exit__()

    def check(self) -> None:
        """Compare the classes of the 150 rows, one at a time, and of many at once, with XGBoost's own.

        Raises:
            BenchmarkError: one differs, or the answer is no answer.
        """
        for row, expected in zip(self.work.iris, self.work.classes, strict=True):
            self.check_form(self.server.row, row[None], [expected], "one row")
        rows = self.work.many(CHECKED_MANY)
        for name, form in self.server.many.items():
            self.check_form(form, rows, self.work.predict(rows), name)

    def check_form(self, form: Form, rows: Rows, expected: list[int], what: str) -> None:
        """Send rows and compare the classes.

        Raises:
            BenchmarkError: one differs, or the answer is no answer.
        """
        answer = post(self.url, form, rows)
        if answer.status != 200:
            text = answer.body[:200].decode(errors="replace")
            raise BenchmarkError(f"{self.server.title} answered {what} with {answer.status}: {text}")
        classes = form.classes(answer.body, answer.headers)
        if classes != expected:
            wrong = len(expected) if len(classes) != len(expected) else int(np.not_equal(classes, expected).sum())
            raise BenchmarkError(f"{self.server.title} gave {wrong} of {len(expected)} classes ({what}) wrong")

    def row_load(self, connections: int, seconds: float, edge: Edge | None = None) -> wrk.Load:
        """Load with the 150 rows, one a request, in turn; straight, or through a proxy."""
        form = self.server.row
        lines = b"\n".join(form.body(row[None]) for row in self.work.iris) + b"\n"
        bodies = self.work.body(f"{self.server.name}-rows", lines)
        url = (edge.url if edge else self.url) + form.path
        processes = [self.process, edge.process] if edge else [self.process]
        return _alone(processes, partial(wrk.load, url, connections, seconds, form.content_type, bodies))

    def load(self, form: Form, rows: Rows, connections: int, seconds: float) -> wrk.Load:
        """Load with many rows a request."""
        body = self.work.body(f"{self.server.name}-many", form.body(rows))
        headers = [part for item in form.headers(rows).items() for part in item]
        kind = f"whole:{form.content_type}"
        url = self.url + form.path
        return _alone([self.process], partial(wrk.load, url, connections, seconds, kind, body, *headers))

    def _answers(self) -> bool:
        try:
            return post(self.url, self.server.row, self.work.iris[:1], timeout=5.0).status == 200
        except (http.client.HTTPException, ValueError):
            return False


def _alone(processes: list[Process], load: Callable[[], wrk.Load]) -> wrk.Load:
    """Load, and return how much of the machine other processes used meanwhile."""

    def known() -> float:
        return foreign.driver_seconds() + sum(process.cpu_seconds() for process in processes)

    busy, used, began = foreign.busy_seconds(), known(), time.perf_counter()
    result = load()
    seconds = time.perf_counter() - began
    return replace(result, foreign=foreign.share(foreign.busy_seconds() - busy, known() - used, seconds))
