"""Start a process in a group of its own, and signal the whole group."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO

from local_stack.terminal import StartError

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def start(
    name: str, command: Sequence[str], env: Mapping[str, str] | None = None, output: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command; `output` gets its standard output and standard error.

    The process leads a session of its own, so that a Ctrl-C in the terminal reaches the supervisor alone, which then
    stops the processes. Linux sends it SIGTERM when the supervisor dies, even by SIGKILL.

    Raises:
        StartError: the command cannot be run.
    """
    supervisor = os.getpid()
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def die_with_supervisor() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != supervisor:  # it died before prctl
                os._exit(1)

    try:
        return subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
            preexec_fn=die_with_supervisor,
        )
    except OSError as error:
        raise StartError(f"{name} cannot be started: {error}.") from None


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the process and everything it started in its group; a group that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def describe_end(status: int) -> str:
    """Return the end of a process in words: "ended with status 1" or "was killed by SIGKILL"."""
    return f"ended with status {status}" if status >= 0 else f"was killed by {signal.Signals(-status).name}"
