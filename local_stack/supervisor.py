"""Run the parts under honcho: logs to files and terminal, all or none."""

import collections
import contextlib
import datetime
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from honcho.manager import Manager
from honcho.printer import Message, Printer

from local_stack.parts import Part

READY_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.2
_TAIL_LINES = 20


class LogPrinter(Printer):  # type: ignore[misc]
    """Prints every line with its part's name, and keeps each part's lines in a file as they came."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        super().__init__(sys.stdout)
        folder.mkdir(parents=True, exist_ok=True)
        self.paths = {name: folder / f"{name}.log" for name in names}
        for path in self.paths.values():
            if path.exists():
                path.replace(path.with_suffix(".previous.log"))
        self._files = {name: path.open("ab", buffering=0) for name, path in self.paths.items()}

    def write(self, message: Message) -> None:
        """Print a message and append it to its part's file."""
        if isinstance(message.data, bytes) and message.name in self._files:
            self._files[message.name].write(message.data)
        # The terminal may be gone; the files go on, and so does stopping.
        with contextlib.suppress(OSError):
            super().write(message)

    def tail(self, name: str) -> str:
        """The end of a part's log."""
        with self.paths[name].open(encoding="utf-8", errors="replace") as file:
            return "".join(collections.deque(file, maxlen=_TAIL_LINES))


class Supervisor(Manager):  # type: ignore[misc]
    """Starts every part, says when each is ready, and stops all when one ends or a signal comes."""

    def __init__(self, parts: list[Part], log_folder: Path, farewell: str) -> None:
        self._logs = LogPrinter(log_folder, [part.name for part in parts])
        super().__init__(printer=self._logs)
        self._parts = parts
        self._when_ready = farewell
        self._stop_asked = False
        self._failure: str | None = None
        for part in parts:
            self.add_process(part.name, part.shell_command, env=part.env, cwd=None)

    def run(self) -> int:
        """Run until a part ends or SIGINT, SIGTERM or SIGHUP comes; returns the exit status."""
        # A closed terminal must not leave the parts behind.
        signal.signal(signal.SIGHUP, self._on_hangup)
        threading.Thread(target=self._wait_until_ready, name="readiness", daemon=True).start()
        self.loop()
        if self._failure is None:
            return int(self.returncode)
        print(f"\n{self._failure}", file=sys.stderr)
        return 1

    def terminate(self) -> None:
        """Stop every part; asked for before all have started, it is done as soon as they have."""
        self._stop_asked = True
        if self._all_started():
            ended = [name for name, process in self._processes.items() if "returncode" in process]
            # No signal and yet an end: a part died by itself.
            if ended and self.returncode not in _SIGNAL_STATUSES and self._failure is None:
                name = ended[0]
                self._failure = (
                    f"{name} ended with status {self._processes[name]['returncode']}, so everything was stopped."
                    f" The end of {self._logs.paths[name]}:\n{self._logs.tail(name)}"
                )
            super().terminate()

    def _all_started(self) -> bool:
        started = bool(super()._all_started())
        # honcho would look for a process id that it does not know yet.
        if started and self._stop_asked and not self._terminating:
            super().terminate()
        return started

    def _on_hangup(self, *_: Any) -> None:
        self.returncode = 128 + signal.SIGHUP
        self.terminate()

    def _wait_until_ready(self) -> None:
        began = time.monotonic()
        waiting = list(self._parts)
        while waiting and not self._stop_asked:
            for part in list(waiting):
                reason = part.not_ready()
                if reason is None:
                    waiting.remove(part)
                    self._say(f"{part.name} is ready after {time.monotonic() - began:.1f} s\n")
                elif time.monotonic() - began > READY_TIMEOUT_SECONDS:
                    self._failure = (
                        f"{part.name} was not ready within {READY_TIMEOUT_SECONDS:.0f} s, so everything was stopped:"
                        f" {_sentence(reason)} Its log: {self._logs.paths[part.name]}"
                    )
                    self.terminate()
                    return
            time.sleep(_POLL_SECONDS)
        if not self._stop_asked:
            self._say(self._when_ready)

    def _say(self, text: str) -> None:
        self.events.put(Message(type="line", data=text, time=datetime.datetime.now(), name="system", colour=None))


_SIGNAL_STATUSES = {128 + number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}


def _sentence(reason: str) -> str:
    """The API's own sentence where the reason is one of its answers."""
    try:
        return str(json.loads(reason)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{reason}."
