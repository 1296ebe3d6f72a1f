"""One log file a part.

A part's standard output and standard error are its log file itself. A pipe through the supervisor, line by line in
Python, would halve the throughput of the API.
"""

import os
from pathlib import Path
from typing import IO

from local_stack.terminal import StartError

TAIL_LINES = 20
# A log file grows as long as the stack runs, so only its end is read.
MAX_TAIL_BYTES = 64 * 1024


class LogFiles:
    """`NAME.log` of this run and `NAME.log.1` of the previous one, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the path of a part's log file."""
        return self.folder / f"{name}.log"

    def open_new(self, name: str) -> IO[bytes]:
        """Rotate a part's log file and open an empty one.

        Raises:
            StartError: the folder cannot be written.
        """
        path = self.path(name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path.exists():
                path.replace(f"{path}.1")
            # Append mode: after `: > NAME.log` the part continues at the start of the file, not at its old offset.
            return path.open("ab")
        except OSError as error:
            raise StartError.unwritable(self.folder, error) from None

    def tail(self, name: str) -> str:
        """Return the last lines of a part's log file."""
        try:
            with self.path(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_TAIL_BYTES))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        except OSError as error:
            return f"({error.strerror})"
        return "\n".join(lines[-TAIL_LINES:])
