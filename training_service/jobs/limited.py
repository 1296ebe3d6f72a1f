"""What a job runs: `python -m training_service.jobs.limited MEGABYTES ARGUMENT...` trains within limits."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# Below the API, which has somebody waiting.
NICENESS = 10
_MEGABYTE = 1024 * 1024


def main(argv: Sequence[str]) -> int:
    """Run the training's command with the arguments after the first; returns its exit status."""
    megabytes, *arguments = argv
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    os.nice(NICENESS)
    # Data, and not address space: libraries reserve much of that and use little. macOS knows the limit and keeps none.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (int(megabytes) * _MEGABYTE,) * 2)
    # A container that runs out of memory loses the job and not the service.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    # Only now: the limits hold for what this needs, too.
    from model_training.train import main as train

    return train(arguments)


def _end_with_the_service() -> None:
    """Kill this process and all that it started when the pipe from the service ends."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
