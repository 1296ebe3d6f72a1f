"""A training as a process of its own: its events, its limits, and its end with everything that it started."""

from __future__ import annotations

import logging
import os
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

# A card is up to 16 MiB, and stands in one line.
_LONGEST_LINE = 32 * 1024 * 1024
_KEPT_LINES = 50
# What the job has no need to know.
_SECRETS = ("ADMIN_TOKEN", "ADMIN_TOKEN_FILE")
_SIGNS_OF_NO_MEMORY = (
    "MemoryError",
    "bad_alloc",
    "Cannot allocate memory",
    "cannot allocate memory",
    "Unable to allocate",
    "failed to map segment",
    "malloc of size",
    "Memory allocation",
    "Thread creation failed",
    "error return without exception set",
    "memory does not suffice",
)

_log = logging.getLogger(__name__)

Event = dict[str, Any]


class TrainingProcess:
    """`python -m model_training.train ARGUMENT...` under limits; it ends with the service, however that ends."""

    def __init__(
        self, arguments: Sequence[str], seconds: float, memory_mb: int, *, memory_setting: str = "JOB_MEMORY_MB"
    ) -> None:
        """memory_setting is the name of what memory_mb comes from.

        Raises:
            OSError: it cannot be started.
        """
        self.timed_out = False
        self._seconds = seconds
        self._memory_mb = memory_mb
        self._memory_setting = memory_setting
        self._stderr: deque[str] = deque(maxlen=_KEPT_LINES)
        self._killing = threading.Lock()
        self._has_ended = False
        # Its standard input is a pipe that nobody writes to: when this service is gone, however it went, the pipe
        # ends, and so does the job (limited.py).
        self._process = subprocess.Popen(
            [sys.executable, "-m", "training_service.jobs.limited", str(memory_mb), *arguments],
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own, that can be killed whole.
            start_new_session=True,
        )

    def run(self, on_event: Callable[[Event], None]) -> int:
        """Hand on each event until the end; returns the exit status, below 0 that of a signal."""
        process = self._process
        timer = threading.Timer(self._seconds, self._time_out)
        timer.daemon = True
        timer.start()
        errors = threading.Thread(target=self._read_errors, daemon=True)
        errors.start()
        try:
            while line := _pipe(process.stdout).readline(_LONGEST_LINE):
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
        """End it with all that it started; does nothing when it has ended."""
        with self._killing:
            if not self._has_ended:
                with suppress(PermissionError, ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def why_it_failed(self, status: int) -> str:
        """One sentence for an end without a word."""
        if self.timed_out:
            return f"It took longer than the {self._seconds:.0f} seconds that are allowed, and was stopped."
        said = "\n".join(self._stderr)
        if any(sign in said for sign in _SIGNS_OF_NO_MEMORY):
            return self.no_memory
        if status == -signal.SIGKILL:
            return (
                "It was killed from outside, most likely because the machine ran out of memory;"
                " send a smaller table, or give the service more."
            )
        # What libraries do that were given no memory and do not expect it.
        if -status in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS):
            return f"It crashed, most likely for want of memory. {self.no_memory}"
        return f"It ended unexpectedly with status {status}; the service's log has what it said."

    @property
    def no_memory(self) -> str:
        """The sentence for want of memory."""
        return (
            f"It needed more memory than the {self._memory_mb} MB that it may use"
            f" ({self._memory_setting}); raise that, or send a smaller table."
        )

    def is_for_want_of_memory(self, text: str) -> bool:
        """Whether a message is that of a failed allocation."""
        return any(sign in text for sign in _SIGNS_OF_NO_MEMORY)

    def _time_out(self) -> None:
        self.timed_out = True
        self.kill()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        # Without taking its status: until then its id cannot be another's, and can be killed.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._killing:
            # What it started and left behind. (macOS does not let anybody kill a group of the dead.)
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
        _log.info("job said", extra={"line": text})


def _environment() -> dict[str, str]:
    """Without what the job has no need to know, and with its memory for data.

    Linear algebra and the allocator else take some for each core, which on a machine with many is more than the limit.
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
