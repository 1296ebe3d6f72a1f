"""Run the parts as child processes: all of them or none."""

import signal
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

from local_stack.logs import LogFiles
from local_stack.parts import Part
from local_stack.processes import describe_end, signal_group, start
from local_stack.readiness import READY_TIMEOUT_SECONDS, ReadinessProbes
from local_stack.terminal import STDERR, say

STOP_TIMEOUT_SECONDS = 5.0
_POLL_SECONDS = 0.1


class Supervisor:
    """Start every part, and stop all when one ends or a signal arrives."""

    def __init__(self, parts: Sequence[Part], logs: LogFiles, ready_text: str, shows_logs: bool = False) -> None:
        self._parts = parts
        self._logs = logs
        self._readiness = ReadinessProbes(parts, ready_text)
        self._shows_logs = shows_logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._follower: subprocess.Popen[bytes] | None = None
        self._is_stopping = False
        self._is_killing = False
        self._signal = 0

    def run(self) -> int:
        """Run until a part ends or SIGINT, SIGTERM or SIGHUP arrives; return the exit status.

        Raises:
            StartError: a part cannot be started; no part runs any more.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            # Before the thread: a process with several threads must not fork.
            self._start()
            self._readiness.start()
            return self._watch()
        finally:
            self._stop()

    def _start(self) -> None:
        for part in self._parts:
            with self._logs.open_new(part.name) as log:
                self._processes[part.name] = start(part.name, part.command, part.env, log)
        if self._shows_logs:
            paths = [str(self._logs.path(part.name)) for part in self._parts]
            self._follower = start("tail", ["tail", "-n", "+1", "-F", *paths])
        say(f"started {', '.join(self._processes)}; log files: {self._logs.folder}")

    def _watch(self) -> int:
        """Wait for a reason to stop; return the exit status."""
        while not self._is_stopping:
            for name, process in self._processes.items():
                status = process.poll()
                if status is not None:
                    self._fail(name, f"{name} {describe_end(status)}, so everything is stopped.")
                    return 1
            if self._readiness.late:
                part, reason = self._readiness.late
                sentence = f"{part.name} was not ready within {READY_TIMEOUT_SECONDS:.0f} s, so everything is stopped:"
                self._fail(part.name, f"{sentence} {reason}")
                return 1
            time.sleep(_POLL_SECONDS)
        say(f"\n{signal.Signals(self._signal).name}: stopping everything; Ctrl-C kills what has not stopped yet")
        return 128 + self._signal

    def _fail(self, name: str, sentence: str) -> None:
        say(f"\n{sentence} The end of {self._logs.path(name)}:\n{self._logs.tail(name)}", STDERR)

    def _stop(self) -> None:
        """Send SIGTERM to every part at once, and SIGKILL after some seconds or at a further Ctrl-C."""
        self._is_stopping = True
        self._readiness.stop()
        for process in self._processes.values():
            signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while running := [name for name, process in self._processes.items() if process.poll() is None]:
            if self._is_killing or time.monotonic() > deadline:
                say(f"killing {', '.join(running)}", STDERR)
                break
            time.sleep(_POLL_SECONDS)
        for process in self._processes.values():
            # The whole group, even if its leader has ended: Nginx's workers outlive a master that was killed.
            signal_group(process, signal.SIGKILL)
            process.wait()
        # Last, so that it shows how the parts stopped.
        if self._follower:
            self._follower.terminate()
            self._follower.wait()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # A terminal that closes may send SIGHUP twice, so only Ctrl-C kills.
        if self._is_stopping and number == signal.SIGINT:
            self._is_killing = True
        self._is_stopping = True
        self._signal = self._signal or number
