"""Metrics of several workers: their deaths do not change the sums."""

import concurrent.futures
import contextlib
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.flask_app.samples import Samples, of_a_server, value


@pytest.fixture
def metered(start_server: Any, trained_store: Path, tmp_path: Path) -> Iterator[Any]:
    """A Gunicorn with two workers and metrics in tmp_path / "metrics"."""
    with start_server(trained_store, prometheus_multiproc_dir=tmp_path / "metrics") as server:
        yield server


def predict(server: Any, setosa: Any, count: int) -> None:
    for _ in range(count):
        assert server.ask("POST", "/predict", setosa)[0] == 200


def predictions(samples: Samples) -> float:
    rows = value(samples, "flask_api_rows_predicted_total")
    name = "flask_api_request_duration_seconds_count"
    assert rows == value(samples, name, route="/predict", status="200")
    return rows


def replaced(server: Any, killed: int) -> bool:
    return len(server.workers()) == 2 and killed not in server.workers()


def test_five_requests_count_five_and_a_killed_worker_loses_none(metered: Any, setosa: Any, eventually: Any) -> None:
    predict(metered, setosa, 20)
    before = of_a_server(metered)
    predict(metered, setosa, 5)
    after = of_a_server(metered)
    assert predictions(after) - predictions(before) == 5
    for killed in metered.workers():
        os.kill(killed, signal.SIGKILL)
        eventually(lambda killed=killed: replaced(metered, killed))
        eventually(metered.answers)
        predict(metered, setosa, 5)
    end = of_a_server(metered)
    assert predictions(end) - predictions(after) == 10
    for (name, labels), number in after.items():
        if name.endswith(("_total", "_count", "_sum", "_bucket")):
            assert end[name, labels] >= number, (name, labels)
    eventually(lambda: value(of_a_server(metered), "flask_api_workers", omp_num_threads="1") == 2)


def test_thirty_deaths_leave_a_bounded_number_of_files_and_every_count(
    metered: Any, setosa: Any, eventually: Any, tmp_path: Path
) -> None:
    sent = 0
    for _ in range(30):
        predict(metered, setosa, 3)
        sent += 3
        killed = metered.workers()[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda killed=killed: replaced(metered, killed))
        eventually(metered.answers)
    eventually(lambda: value(of_a_server(metered), "flask_api_workers") == 2)
    assert predictions(of_a_server(metered)) == sent
    names = [path.name for path in (tmp_path / "metrics").iterdir()]
    assert len(names) <= 2 * 4 + 2 + 1, names
    alive = {str(pid) for pid in metered.workers()}
    assert {match[1] for name in names if (match := re.search(r"_(\d+)\.db", name))} <= alive


def test_counters_never_decrease_while_workers_die(metered: Any, setosa: Any, eventually: Any) -> None:
    """Prometheus takes a decreasing sum for a restart, and counts everything again."""
    stop = threading.Event()
    seen: list[float] = []
    faults: list[BaseException] = []

    def scrape() -> None:
        while not stop.is_set():
            # The worker that answers may have died.
            with contextlib.suppress(OSError, http.client.HTTPException):
                try:
                    seen.append(value(of_a_server(metered), "flask_api_rows_predicted_total"))
                except AssertionError as error:
                    faults.append(error)

    scraper = threading.Thread(target=scrape)
    predict(metered, setosa, 10)
    scraper.start()
    for _ in range(8):
        killed = metered.workers()[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda killed=killed: replaced(metered, killed))
        eventually(metered.answers)
    stop.set()
    scraper.join(30)
    assert faults == []
    assert len(seen) >= 5
    assert set(seen) == {10}


def half_a_request(server: Any, setosa: Any) -> socket.socket:
    body = json.dumps(setosa).encode()
    connection: socket.socket = server.raw()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body[:-5])
    return connection


def test_predictions_in_flight_return_to_zero(metered: Any, setosa: Any, eventually: Any) -> None:
    def in_flight() -> float:
        return value(of_a_server(metered), "flask_api_predictions_in_flight")

    with half_a_request(metered, setosa) as connection:
        eventually(lambda: in_flight() == 1)
        connection.sendall(json.dumps(setosa).encode()[-5:])
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
    assert in_flight() == 0
    with half_a_request(metered, setosa) as connection:
        eventually(lambda: in_flight() == 1)
    eventually(lambda: in_flight() == 0)
    with half_a_request(metered, setosa):
        eventually(lambda: in_flight() == 1)
        before = metered.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(metered.workers()) == 2 and not set(metered.workers()) & set(before))
        eventually(metered.answers)
        assert in_flight() == 0


def test_after_a_switch_only_the_new_version_is_shown(
    start_server: Any, store: Any, version: str, other_version: str, setosa: Any, eventually: Any
) -> None:
    def versions() -> dict[str, float]:
        return {
            dict(pairs)["model_version"]: number
            for (name, pairs), number in of_a_server(server).items()
            if name == "flask_api_model_info"
        }

    with start_server(store.root) as server:
        assert versions() == {version: 1}
        predict(server, setosa, 3)
        store.activate(other_version)
        eventually(lambda: versions() == {other_version: 1})
        predict(server, setosa, 2)
        # A new worker never had the old version, and the others no longer export it.
        os.kill(server.workers()[0], signal.SIGKILL)
        eventually(lambda: value(of_a_server(server), "flask_api_workers") == 2)
        assert versions() == {other_version: 1}
        rows = "flask_api_rows_predicted_total"
        samples = of_a_server(server)
        assert value(samples, rows, model_version=version) == 3
        assert value(samples, rows, model_version=other_version) == 2


def test_files_of_an_earlier_run_are_removed_and_others_stay(
    start_server: Any, trained_store: Path, tmp_path: Path, setosa: Any
) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "of-somebody-else.db").write_text("mine")
    for _ in range(2):
        with start_server(trained_store, prometheus_multiproc_dir=folder) as server:
            predict(server, setosa, 4)
            assert predictions(of_a_server(server)) == 4
    assert (folder / "of-somebody-else.db").read_text() == "mine"


def test_a_hanging_scraper_does_not_block_the_arbiter(
    metered: Any, setosa: Any, eventually: Any, tmp_path: Path
) -> None:
    predict(metered, setosa, 6)
    with (tmp_path / "metrics" / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        killed = metered.workers()[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: replaced(metered, killed))
        eventually(metered.answers)
        assert predictions(of_a_server(metered)) == 6
    killed_next = metered.workers()[0]
    os.kill(killed_next, signal.SIGKILL)
    eventually(lambda: replaced(metered, killed_next))
    eventually(metered.answers)
    assert predictions(of_a_server(metered)) == 6
    assert not list((tmp_path / "metrics").glob(f"*_{killed}.db"))


def test_an_incomplete_file_breaks_no_scrape(metered: Any, setosa: Any, eventually: Any, tmp_path: Path) -> None:
    """A worker was killed after it created a file and before it wrote to it."""
    predict(metered, setosa, 2)
    (tmp_path / "metrics" / "counter_999999.db").touch()
    assert predictions(of_a_server(metered)) == 2
    killed = metered.workers()[0]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: replaced(metered, killed))
    eventually(metered.answers)
    assert predictions(of_a_server(metered)) == 2
    assert not (tmp_path / "metrics" / "counter_999999.db").exists()


@pytest.mark.parametrize("before", [0, 2])
def test_a_removed_folder_is_made_again(
    metered: Any, setosa: Any, eventually: Any, tmp_path: Path, before: int
) -> None:
    """systemd empties /dev/shm of a user who logs out. Counts are lost then; the service continues."""
    eventually(lambda: sum(line["message"] == "model loaded" for line in metered.log()) == 2)
    predict(metered, setosa, before)
    shutil.rmtree(tmp_path / "metrics")
    # Concurrently, so that each worker gets some.
    with concurrent.futures.ThreadPoolExecutor(16) as clients:
        list(clients.map(lambda _: predict(metered, setosa, 4), range(16)))
    of_a_server(metered)
    killed = metered.workers()[0]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: replaced(metered, killed))
    eventually(metered.answers)
    of_a_server(metered)
    assert metered.process.poll() is None


OWN_FOLDER = """
import os, signal, sys, tempfile
from flask_app import metrics_files
metrics_files.prepare("", sys.argv[1])
print(os.environ["PROMETHEUS_MULTIPROC_DIR"], flush=True)
if os.fork() == 0:
    sys.exit()
os.wait()
assert os.path.isdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]), "a worker's end removed it"
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "stays":
    sys.stdin.read()
"""


def test_its_own_folder_is_private_and_removed_at_the_end(repository: Path, tmp_path: Path) -> None:
    def run(end: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", OWN_FOLDER, str(tmp_path), end],
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    with run("stays") as staying:
        assert staying.stdout is not None
        kept = Path(staying.stdout.readline().strip())
        assert kept.parent == tmp_path
        assert kept.stat().st_mode & 0o777 == 0o700
        with run("killed") as process:
            left = Path(process.communicate()[0].strip())
        assert left.is_dir()
        # The next process removes abandoned folders, but none in use.
        with run("ends") as process:
            own = Path(process.communicate()[0].strip())
            assert process.returncode == 0
        assert (kept.is_dir(), left.exists(), own.exists()) == (True, False, False)
        staying.communicate("")
    assert list(tmp_path.iterdir()) == []
