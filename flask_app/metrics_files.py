"""The folder in which Gunicorn's workers keep their metrics, so that any of them can tell the sum of all."""

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

# The arbiter must never wait long for a scrape: it looks after hung workers, and one of those may be scraping.
_LOCK_SECONDS = 1.0
_LOCK_FILE = "lock"

_PREFIX = "flask-api-metrics-"
_OWNER_FILE = "owner"
_OURS = re.compile(r"(counter|histogram|gauge_[a-z]+)_(\d+|dead)\.db")
_SUMMED = re.compile(r"(counter|histogram)_(\d+)\.db")

_log = logging.getLogger(__name__)


def prepare(given: str, parent: str | None) -> None:
    """Set PROMETHEUS_MULTIPROC_DIR, which prometheus_client reads when it is imported.

    given is a folder of the operator's; without it a private one is made below parent (None: the temporary folder) and
    removed when this process ends.
    """
    os.environ[VARIABLE] = given or _own_folder(Path(parent or tempfile.gettempdir()))
    make()


def make() -> None:
    """Make the folder where it is missing; systemd empties /dev/shm when its user logs out."""
    os.makedirs(os.environ[VARIABLE], mode=0o700, exist_ok=True)


def wipe() -> None:
    """Remove what an earlier run left: its counters would be added to ours."""
    for path in Path(os.environ[VARIABLE]).glob("*.db"):
        if _OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)


def bury(living: Iterable[int]) -> None:
    """Add the counts of workers that are gone to one file for all of them, and remove theirs.

    Nothing that was counted is lost, and a worker that dies every minute does not leave files for every scrape to read.
    """
    alive = {str(pid) for pid in living}
    folder = Path(os.environ[VARIABLE])
    for path in folder.glob("gauge_live*_*.db"):
        if path.stem.rpartition("_")[2] not in alive:
            path.unlink(missing_ok=True)
    with _lock(fcntl.LOCK_EX) as locked:
        # Else they are still read one by one, and buried with the next.
        if locked:
            for path in folder.glob("*.db"):
                match = _SUMMED.fullmatch(path.name)
                if match and match[2] not in alive:
                    _add(path, folder / f"{match[1]}_dead.db")


@contextlib.contextmanager
def reading() -> Iterator[list[str]]:
    """The files to sum. No worker is buried meanwhile: one read twice or not at all would look like a restart."""
    make()
    with _lock(fcntl.LOCK_SH), os.scandir(os.environ[VARIABLE]) as entries:
        # An empty one was made this moment, and prometheus_client cannot read it.
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
    # The gauges of a worker that died this moment.
    except FileNotFoundError:
        return 0


def _add(path: Path, total: Path) -> None:
    # Only here: it must be imported after `prepare`.
    from prometheus_client.mmap_dict import MmapedDict

    try:
        values = list(MmapedDict.read_all_values_from_file(str(path)))  # type: ignore[no-untyped-call]
    except (struct.error, RuntimeError, UnicodeDecodeError):
        # Killed while it wrote its very first bytes.
        _log.warning("the metrics of a dead worker cannot be read", extra={"file": path.name})
        values = []
    sums = MmapedDict(str(total))  # type: ignore[no-untyped-call]
    for key, value, _, _ in values:
        before, _ = sums.read_value(key)  # type: ignore[no-untyped-call]
        sums.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]
    sums.close()  # type: ignore[no-untyped-call]
    path.unlink(missing_ok=True)


def _own_folder(parent: Path) -> str:
    """A fresh folder, locked while this process or a worker of it lives; the ones that nobody locks are removed."""
    for marker in parent.glob(f"{_PREFIX}*/{_OWNER_FILE}"):
        with contextlib.suppress(OSError), marker.open("ab") as file:
            # Whoever made it was killed, and memory would fill up with what such processes leave.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(marker.parent, ignore_errors=True)
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        owner = os.open(os.path.join(folder, _OWNER_FILE), os.O_CREAT | os.O_WRONLY, 0o600)
        fcntl.flock(owner, fcntl.LOCK_EX)
        # Unless another process that starts now took it for one that is left over.
        if os.path.exists(os.path.join(folder, _OWNER_FILE)):
            atexit.register(_remove, folder, os.getpid())
            return folder
        os.close(owner)


def _remove(folder: str, owner: int) -> None:
    # Forked workers inherit what is registered to run at exit.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
