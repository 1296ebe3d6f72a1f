"""What `make run` prints."""

import contextlib
import os

STDOUT, STDERR = 1, 2


def say(text: str, stream: int = STDOUT) -> None:
    """Print a line at once; a terminal that is gone must not keep the parts from being stopped."""
    with contextlib.suppress(OSError):
        os.write(stream, os.fsencode(f"{text}\n"))
