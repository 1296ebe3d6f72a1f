"""The driver itself, on our own server."""

import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import pytest

from benchmarks.running import Running
from benchmarks.servers import servers
from benchmarks.work import ROOT, BenchmarkError, Work

OURS = servers()["ours"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    found = Work(tmp_path_factory.mktemp("bench"))
    found.prepare()
    return found


class Swapped(Work):
    """Expects class 1 where XGBoost says 2, and 2 where it says 1."""

    @cached_property
    def classes(self) -> list[int]:
        return [{1: 2, 2: 1}.get(label, label) for label in super().classes]


def test_a_quick_run_of_our_own_server_measures_and_writes_the_results(work: Work, tmp_path: Path) -> None:
    if not shutil.which("wrk"):
        pytest.skip("wrk is missing: apt install wrk")
    results = tmp_path / "RESULTS.md"
    command = f"--quick --servers ours --measures one-row --work {work.folder} --output {results}"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *command.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = results.read_text()
    assert text.strip() in done.stdout
    section = text.partition("## One row a request, straight to the server")[2].partition("\n## ")[0]
    cells = [cell.strip() for cell in section.strip().splitlines()[-1].strip("|").split("|")]
    assert cells[0] == "this project"
    figures = [float(cell.replace(",", "")) for cell in cells[1:]]
    assert len(figures) == 8 and min(figures) > 0, cells


def test_our_server_answers_as_xgboost_does(work: Work) -> None:
    with Running(OURS, work) as running:
        assert len(running.process.tree()) >= 3
        assert running.process.pss_megabytes() > 20


def test_a_wrong_class_stops_the_measure(work: Work) -> None:
    with pytest.raises(BenchmarkError, match=r"classes \(one row\) wrong"), Running(OURS, Swapped(work.folder)):
        pass


def test_a_server_that_does_not_start_is_reported_with_its_reason(work: Work) -> None:
    running = Running(OURS, work, LOG_FORMAT="xml")
    with pytest.raises(BenchmarkError, match="LOG_FORMAT='xml' cannot be used"), running:
        pass


def test_the_error_of_a_wrong_option_lists_the_valid_ones() -> None:
    command = [sys.executable, "-m", "benchmarks", "--measures", "speed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "one-row" in done.stderr and "Traceback" not in done.stderr
