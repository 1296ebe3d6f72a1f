"""A server under measure: start it, wait for its first good answer, count its time and memory, end it."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.work import ROOT, BenchmarkError

START_SECONDS = 90.0
STOP_SECONDS = 15.0
_TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Process:
    """A command and all processes that it starts; `with` starts and ends them."""

    def __init__(self, command: list[str], env: Mapping[str, str], log: Path, cwd: Path = ROOT) -> None:
        self._command = command
        self._env = {**os.environ, **env}
        self._log = log
        self._cwd = cwd
        self.process: subprocess.Popen[bytes]
        self.started_at = 0.0

    def __enter__(self) -> Self:
        self.started_at = time.monotonic()
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: TracebackType | object) -> None:
        # Those that left the group (a supervisor's children) are named before the one that knows them is gone.
        pids = self.tree()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def wait_until(self, good: Callable[[], bool], what: str, pause: float = 0.1) -> float:
        """Seconds from the process's start until `good` holds.

        Raises:
            BenchmarkError: the process ended, or it took too long.
        """
        while True:
            with contextlib.suppress(OSError):
                if good():
                    return time.monotonic() - self.started_at
            if self.process.poll() is not None:
                raise BenchmarkError(f"{what} ended with status {self.process.returncode}: {self.tail()}")
            if time.monotonic() - self.started_at > START_SECONDS:
                raise BenchmarkError(f"{what} gave no good answer within {START_SECONDS:.0f} s: {self.tail()}")
            time.sleep(pause)

    def tree(self) -> list[int]:
        """Ids of the process and all its descendants."""
        return _tree(self.process.pid)

    def cpu_seconds(self) -> float:
        """Processor time that the tree has used."""
        return sum(process_seconds(pid) for pid in self.tree())

    def pss_megabytes(self) -> float:
        """Memory of the tree in 10^6 bytes, what is shared divided among those that share it."""
        return sum(_pss(pid) for pid in self.tree()) / 1e6

    def tail(self) -> str:
        """The end of what it wrote."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:])[-500:]


def _tree(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in (thread / "children").read_text().split():
                    found += _tree(int(child))
    return found


def process_seconds(pid: int) -> float:
    """Processor time that a process has used; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # utime and stime, fields 14 and 15 of proc(5).
    return (int(fields[11]) + int(fields[12])) / _TICK


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
