"""The folder of the metrics of Gunicorn's workers, from which each worker can sum those of all."""

import atexit
import contextlib
import fcntl
import logging
import os
import re
import shutil
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# The arbiter must not wait long for a scrape: it ends hung workers, and one of those may be scraping.
_LOCK_SECONDS = 1.0
_LOCK_FILE = "lock"

_PREFIX = "flask-api-metrics-"
_OWNER_FILE = "owner"
_OURS = re.compile(r"(counter|histogram|gauge_[a-z]+)_(\d+|dead)\.db")
_SUMMED = re.compile(r"(counter|histogram)_(\d+)\.db")

_log = logging.getLogger(__name__)


def prepare(given: str, parent: str | None) -> None:
    """Set PROMETHEUS_MULTIPROC_DIR, which prometheus_client reads when it is imported.

    given is the operator's folder; if it is empty, a private folder is made below parent (None: the temporary folder)
    and removed when this process ends.
    """
    os.environ[VARIABLE] = given or _own_folder(Path(parent or tempfile.gettempdir()))
    make()


def make() -> None:
    """Make the folder if it is missing; systemd empties /dev/shm when its user logs out."""
    os.makedirs(os.environ[VARIABLE], mode=0o700, exist_ok=True)


def wipe() -> None:
    """Remove the files of an earlier run, whose counters would be added to this one's."""
    for path in Path(os.environ[VARIABLE]).glob("*.db"):
        if _OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)


def merge_dead(living: Iterable[int]) -> None:
    """Add the counts of dead workers to one file, and remove their own.

    No count is lost, and each scrape reads one file more than there are workers, however many have died.
    """
    alive = {str(pid) for pid in living}
    folder = Path(os.environ[VARIABLE])
    for path in folder.glob("gauge_live*_*.db"):
        if path.stem.rpartition("_")[2] not in alive:
            path.unlink(missing_ok=True)
    with _lock(fcntl.LOCK_EX) as locked:
        # Without the lock they stay, and are merged after the next worker's end.
        if locked:
            for path in folder.glob("*.db"):
                match = _SUMMED.fullmatch(path.name)
                if match and match[2] not in alive:
                    _add(path, folder / f"{match[1]}_dead.db")


@contextlib.contextmanager
def reading() -> Iterator[list[str]]:
    """Yield the files to sum; no dead worker is merged meanwhile, since a lost or double count looks like a restart."""
    make()
    with _lock(fcntl.LOCK_SH), os.scandir(os.environ[VARIABLE]) as entries:
        # prometheus_client cannot read a file that was made this moment and is still empty.
        yield [entry.path for entry in entries if _OURS.fullmatch(entry.name) and _size(entry)]


@contextlib.contextmanager
def _lock(mode: int) -> Iterator[bool]:
    with open(os.path.join(os.environ[VARIABLE], _LOCK_FILE), "ab") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        locked = False
        while not locked and time.monotonic() < deadline:
            try:
                fcntl.flock(file, mode | fcntl.LOCK_NB)
                locked = True
            except BlockingIOError:
                time.sleep(0.005)
        yield locked


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    # A dead worker's gauges, removed this moment.
    except FileNotFoundError:
        return 0


def _add(path: Path, total: Path) -> None:
    # Imported here: `prepare` must come first.
    from prometheus_client.mmap_dict import MmapedDict

    try:
        values = list(MmapedDict.read_all_values_from_file(str(path)))  # type: ignore[no-untyped-call]
    except (struct.error, RuntimeError, UnicodeDecodeError):
        # The worker was killed while it wrote the first bytes.
        _log.warning("the metrics of a dead worker cannot be read", extra={"file": path.name})
        values = []
    sums = MmapedDict(str(total))  # type: ignore[no-untyped-call]
    for key, value, _, _ in values:
        before, _ = sums.read_value(key)  # type: ignore[no-untyped-call]
        sums.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]
    sums.close()  # type: ignore[no-untyped-call]
    path.unlink(missing_ok=True)


def _own_folder(parent: Path) -> str:
    """Make a folder that is locked while this process or a worker of it lives, and remove those of dead processes."""
    for marker in parent.glob(f"{_PREFIX}*/{_OWNER_FILE}"):
        with contextlib.suppress(OSError), marker.open("ab") as file:
            # The lock is free, so its process was killed; such folders would fill the memory.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(marker.parent, ignore_errors=True)
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        owner = os.open(os.path.join(folder, _OWNER_FILE), os.O_CREAT | os.O_WRONLY, 0o600)
        fcntl.flock(owner, fcntl.LOCK_EX)
        # Before the lock, another process that starts may have removed it as one of a dead process.
        if os.path.exists(os.path.join(folder, _OWNER_FILE)):
            atexit.register(_remove, folder, os.getpid())
            return folder
        os.close(owner)


def _remove(folder: str, owner: int) -> None:
    # Forked workers inherit the registered functions.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
