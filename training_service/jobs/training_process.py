"""A training in its own process: its events, its limits, and its end."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec

ROOT = Path(__file__).resolve().parents[2]

# An event with a card, of up to 16 MiB, is one line.
_MAX_LINE_BYTES = 32 * 1024 * 1024
_MAX_KEPT_LINES = 50
# The job does not get these.
_SECRETS = ("ADMIN_TOKEN", "ADMIN_TOKEN_FILE")
_OUT_OF_MEMORY = re.compile(
    "MemoryError|bad_alloc|[Cc]annot allocate memory|Unable to allocate|failed to map segment|malloc of size"
    "|cannot map zero-fill pages|Memory allocation|Thread creation failed|error return without exception set"
    "|memory does not suffice"
)

_log = logging.getLogger(__name__)

Event = dict[str, Any]


class TrainingProcess:
    """Runs `python -m model_training.train ARGUMENT...` under limits; the process ends with the service."""

    def __init__(
        self, arguments: Sequence[str], seconds: float, memory_mb: int, *, memory_setting: str = "JOB_MEMORY_MB"
    ) -> None:
        """memory_setting names the variable of memory_mb in error messages.

        Raises:
            OSError: the process cannot be started.
        """
        self.timed_out = False
        self._seconds = seconds
        self._memory_mb = memory_mb
        self._memory_setting = memory_setting
        self._stderr: deque[str] = deque(maxlen=_MAX_KEPT_LINES)
        self._killing = threading.Lock()
        self._has_ended = False
        # Nobody writes to the pipe of its standard input: it closes when the service ends, even by SIGKILL, and then
        # the job ends itself (limited.py).
        self._process = subprocess.Popen(
            [sys.executable, "-m", "training_service.jobs.limited", str(memory_mb), *arguments],
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Its own process group, which can be killed as a whole.
            start_new_session=True,
        )

    def run(self, on_event: Callable[[Event], None]) -> int:
        """Pass on each event until the process ends; return its exit status, negative for a signal."""
        process = self._process
        timer = threading.Timer(self._seconds, self._time_out)
        timer.daemon = True
        timer.start()
        errors = threading.Thread(target=self._read_errors, daemon=True)
        errors.start()
        try:
            while line := _pipe(process.stdout).readline(_MAX_LINE_BYTES):
                event = _event(line)
                if event is None:
                    self._keep(line)
                else:
                    on_event(event)
        except BaseException:
            self.kill()
            raise
        finally:
            self._wait(process)
            timer.cancel()
            errors.join()
            for stream in (process.stdin, process.stdout, process.stderr):
                _pipe(stream).close()
        return process.returncode

    def kill(self) -> None:
        """Kill the process group; do nothing if it has ended."""
        with self._killing:
            if not self._has_ended:
                with suppress(PermissionError, ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def failure_reason(self, status: int) -> str:
        """Return one sentence for a failure without an error event."""
        if self.timed_out:
            return f"It exceeded the time limit of {self._seconds:.0f} seconds and was stopped."
        if self.is_out_of_memory("\n".join(self._stderr)):
            return self.out_of_memory
        if status == -signal.SIGKILL:
            return (
                "It was killed, most likely because the machine ran out of memory;"
                " send a smaller table, or give the service more memory."
            )
        # Libraries crash like this when an allocation fails.
        if -status in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS):
            return f"It crashed, most likely because it ran out of memory. {self.out_of_memory}"
        return f"It ended unexpectedly with status {status}; the service's log has its output."

    @property
    def out_of_memory(self) -> str:
        """Return the sentence for an exceeded memory limit."""
        return (
            f"It exceeded the memory limit of {self._memory_mb} MB ({self._memory_setting});"
            " raise the limit, or send a smaller table."
        )

    def is_out_of_memory(self, text: str) -> bool:
        """Return whether a message reports a failed allocation."""
        return bool(_OUT_OF_MEMORY.search(text))

    def _time_out(self) -> None:
        self.timed_out = True
        self.kill()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        # WNOWAIT: until its status is read, its id cannot belong to another process and is safe to kill.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._killing:
            # Its children. (On macOS, killing a group of dead processes raises PermissionError.)
            with suppress(PermissionError, ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._has_ended = True

    def _read_errors(self) -> None:
        for line in _pipe(self._process.stderr):
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()[:2000]
        self._stderr.append(text)
        _log.info("job output", extra={"line": text})


def _environment() -> dict[str, str]:
    """Return this process's environment without secrets.

    OpenBLAS and malloc reserve memory for each core, which on a large machine would exceed the limit.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    return {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", **kept}


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process was started without this pipe")
    return stream


def _event(line: bytes) -> Event | None:
    try:
        event = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return event if isinstance(event.get("event"), str) else None
