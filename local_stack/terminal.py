"""What `make run` prints, and the error that keeps it from starting."""

import contextlib
import os
from pathlib import Path

STDOUT, STDERR = 1, 2


def say(text: str, stream: int = STDOUT) -> None:
    """Print a line at once; a terminal that is gone must not keep the parts from being stopped."""
    with contextlib.suppress(OSError):
        os.write(stream, os.fsencode(f"{text}\n"))


class StartError(Exception):
    """The stack cannot start; the message is one sentence that names the cause and the remedy."""

    @classmethod
    def unwritable(cls, folder: Path, error: OSError) -> "StartError":
        """Return the error for a folder under RUN_DIR that cannot be written."""
        return cls(
            f"{folder} cannot be written ({error.strerror}); free some space or change its owner,"
            " or choose another folder: RUN_DIR=<folder> make run."
        )
