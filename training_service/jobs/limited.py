"""Train within limits: `python -m training_service.jobs.limited MEGABYTES ARGUMENT...` is a job's process."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# Below the API, whose clients wait.
NICENESS = 10
_MEGABYTE = 1024 * 1024


def main(argv: Sequence[str]) -> int:
    """Run `model_training.train` with the arguments after the first; return its exit status."""
    megabytes, *arguments = argv
    threading.Thread(target=_end_with_service, daemon=True).start()
    os.nice(NICENESS)
    # Data, not address space, of which libraries reserve more than they use. macOS does not enforce the limit.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (int(megabytes) * _MEGABYTE,) * 2)
    # When the container runs out of memory, the kernel kills the job, not the service.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    # Imported here, so that the limits apply to the imports as well.
    from model_training.train import main as train

    return train(arguments)


def _end_with_service() -> None:
    """Kill this process group when the pipe from the service closes."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
