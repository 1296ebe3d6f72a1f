"""The supervisor with parts that are shell scripts; tests/local_stack has the real ones."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack import __main__, supervisor
from local_stack.logs import MAX_TAIL_BYTES, TAIL_LINES, LogFiles
from local_stack.parts import Part
from local_stack.supervisor import Supervisor
from local_stack.terminal import StartError

NEVER_READY = "http://127.0.0.1:9/"
WAITS = "exec sleep 60"


@pytest.fixture(autouse=True)
def _signal_handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def run(folder: Path, **scripts: str) -> int:
    parts = [Part(name, ["sh", "-c", script], NEVER_READY, dict(os.environ)) for name, script in scripts.items()]
    return Supervisor(parts, LogFiles(folder), "everything is ready").run()


def test_the_end_of_a_dead_parts_log_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, dies="seq 100; echo why >&2; exit 3", waits=WAITS) == 1
    shown = capfd.readouterr().err.strip().splitlines()
    assert shown[0] == f"dies ended with status 3, so everything is stopped. The end of {tmp_path}/dies.log:"
    assert shown[1:] == [str(number) for number in range(102 - TAIL_LINES, 101)] + ["why"]


def test_a_part_that_ends_without_an_error_ends_the_run_with_one(tmp_path: Path) -> None:
    assert run(tmp_path, ends="exit 0", waits=WAITS) == 1


def test_a_part_that_is_not_ready_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "READY_TIMEOUT_SECONDS", 1.0)
    assert run(tmp_path, waits=f"echo busy; {WAITS}") == 1
    shown = capfd.readouterr().err
    assert "waits was not ready within" in shown and "Connection refused" in shown and shown.endswith("\nbusy\n")


@pytest.mark.parametrize("number", ["INT", "TERM", "HUP"])
def test_ctrl_c_while_stopping_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: str
) -> None:
    monkeypatch.setattr(supervisor, "STOP_TIMEOUT_SECONDS", 1000.0)
    script = f"trap '' TERM; kill -{number} $PPID; sleep 0.1; while kill -INT $PPID; do sleep 0.1; done"
    assert run(tmp_path, stubborn=script) == 128 + signal.Signals[f"SIG{number}"]
    assert "killing stubborn" in capfd.readouterr().err


def test_a_part_that_does_not_stop_in_time_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_TIMEOUT_SECONDS", 0.2)
    script = "trap '' TERM; sh -c 'echo $$; exec sleep 60' & kill -TERM $PPID; wait"
    assert run(tmp_path, stubborn=script) == 143
    child = Path("/proc") / (tmp_path / "stubborn.log").read_text().strip() / "cmdline"
    deadline = time.monotonic() + 30
    # Until it is reaped, a dead process has an empty command line.
    while child.exists() and child.read_bytes() != b"":
        assert time.monotonic() < deadline, "the child outlives its part"
        time.sleep(0.02)


def test_a_part_that_cannot_be_started_stops_the_others(tmp_path: Path) -> None:
    parts = [Part(name, command, NEVER_READY, {}) for name, command in (("waits", ["sleep", "60"]), ("no", ["/no"]))]
    runner = Supervisor(parts, LogFiles(tmp_path), "everything is ready")
    with pytest.raises(StartError, match=r"no cannot be started: .*No such file"):
        runner.run()
    assert runner._processes["waits"].poll() is not None


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    (tmp_path / "large.log").write_bytes(b"\xc3\xa4" * MAX_TAIL_BYTES + b"\nlast\n")
    tail = LogFiles(tmp_path).tail("large")
    assert len(tail) <= MAX_TAIL_BYTES and tail.endswith("ä\nlast")


def test_a_full_disk_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(StartError, match=f"The disk of {tmp_path} is full; free some space"):
        __main__._lock(tmp_path)
