"""Report a training: a progress bar and text for people, or JSON lines for programs."""

from __future__ import annotations

import sys
from typing import Any, Literal, Protocol, TextIO

import msgspec

Stage = Literal["read", "check", "search", "train", "evaluate", "gate", "register"]
_BAR_CHARACTERS = 20
_MIN_STEP = 0.01


class Reporter(Protocol):
    """The receiver of a training's progress; share is that of the whole training, 0 to 1."""

    def progress(self, stage: Stage, share: float, text: str) -> None: ...

    def warning(self, text: str) -> None: ...

    def error(self, text: str) -> None: ...

    def end(self, event: dict[str, Any], text: str) -> None:
        """Report the outcome, as an event and as text."""


class TextReporter:
    """Write text to stdout, warnings and errors to stderr, and a progress bar if stderr is a terminal."""

    def __init__(self) -> None:
        self._bar = sys.stderr.isatty()

    def progress(self, stage: Stage, share: float, text: str) -> None:  # noqa: ARG002
        if self._bar:
            filled = "#" * round(_BAR_CHARACTERS * share)
            print(f"\r\x1b[K[{filled:<{_BAR_CHARACTERS}}] {share:4.0%} {text}", end="", file=sys.stderr, flush=True)

    def warning(self, text: str) -> None:
        self._print(f"train: warning: {text}")

    def error(self, text: str) -> None:
        self._print(f"train: {text}")

    def end(self, event: dict[str, Any], text: str) -> None:  # noqa: ARG002
        self._clear()
        print(text)

    def _print(self, text: str) -> None:
        self._clear()
        print(text, file=sys.stderr)

    def _clear(self) -> None:
        if self._bar:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class EventReporter:
    """Write one JSON object per line, without buffering."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: tuple[str, float] = ("", 0.0)

    def progress(self, stage: Stage, share: float, text: str) -> None:
        # A round of boosting can take a millisecond, too short for an event each.
        if stage == self._last[0] and share < self._last[1] + _MIN_STEP:
            return
        self._last = (stage, share)
        self._write({"event": "progress", "stage": stage, "share": round(share, 4), "text": text})

    def warning(self, text: str) -> None:
        self._write({"event": "warning", "text": text})

    def error(self, text: str) -> None:
        self._write({"event": "error", "text": text})

    def end(self, event: dict[str, Any], text: str) -> None:  # noqa: ARG002
        self._write(event)

    def _write(self, event: dict[str, Any]) -> None:
        self._stream.write(msgspec.json.encode(event).decode() + "\n")
        self._stream.flush()
