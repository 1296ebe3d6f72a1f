"""The table of goals: ratios of the right medians, and "not measured" where a median is missing."""

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.goals import GOALS, best_other, growth, steps
from benchmarks.names import BY_ROWS, BY_TREES, COLD_START, GROWTH, MANY_ROWS, ONE_ROW, OVERLOAD, READY, TWICE
from benchmarks.samples import Samples


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    return Samples(tmp_path / "samples.jsonl")


def row(samples: Samples, start: str) -> list[str]:
    """Return the cells of the goal that starts with this text."""
    lines = [line for line in report.goals(samples).splitlines() if line.startswith(f"| {start}")]
    assert len(lines) == 1, lines
    return [cell.strip() for cell in lines[0].strip("|").split("|")]


def test_a_ratio_is_taken_between_medians(samples: Samples) -> None:
    for ours, peer in ((100.0, 10.0), (36.0, 9.0), (30.0, 1000.0)):
        samples.add(ONE_ROW, "ours", 64, rate=ours)
        samples.add(ONE_ROW, "fastapi", 64, rate=peer)
    assert row(samples, "one row, 64 connections: requests/s")[1:] == [">= 3.50", "3.60", "yes"]


def test_a_disturbed_round_counts_only_without_an_undisturbed_one(samples: Samples) -> None:
    for ours, foreign in ((40.0, 0.01), (1.0, 0.3), (2.0, 0.4)):
        samples.add(ONE_ROW, "ours", 64, rate=ours, foreign=foreign)
    samples.add(ONE_ROW, "fastapi", 64, rate=10.0, foreign=0.3)
    assert row(samples, "one row, 64 connections: requests/s")[2:] == ["4.00", "yes"]
    assert "DISTURBED: others used more than 5% of the machine in 3 of 4 loads, up to 40%" in report.markdown(
        samples, {}, {}
    )


def test_a_missed_bound_is_marked(samples: Samples) -> None:
    samples.add(ONE_ROW, "ours", 64, rate=34.9)
    samples.add(ONE_ROW, "fastapi", 64, rate=10.0)
    samples.add(COLD_START, "ours", READY, seconds=1.2)
    assert row(samples, "one row, 64 connections: requests/s")[3] == "NO"
    assert row(samples, "cold start")[1:] == ["<= 1.00 s", "1.20 s", "NO"]


def test_a_missing_measure_is_not_claimed(samples: Samples) -> None:
    assert {row(samples, goal.text)[3] for goal in GOALS[:1] + GOALS[2:]} >= {"not measured"}
    assert "yes" not in report.goals(samples)


def test_the_best_peer_is_not_ours(samples: Samples) -> None:
    samples.add(MANY_ROWS, "ours", "V2 JSON, 2", rows_per_second=9e6)
    samples.add(MANY_ROWS, "mlserver", "V2 JSON, 2", rows_per_second=8e5)
    samples.add(MANY_ROWS, "fastapi", "rows, 2", rows_per_second=4e5)
    samples.add(MANY_ROWS, "fastapi", "rows, 1", rows_per_second=9e5)
    assert best_other(samples, 2) == ("mlserver", 8e5)
    assert row(samples, "JSON of 10,000 rows (V2 JSON), 2 clients")[2] == "11.25"


@pytest.mark.parametrize(("slope", "met"), [(0.0, "yes"), (20.0, "NO")])
def test_memory_that_grows_beyond_noise_misses_its_goal(samples: Samples, slope: float, met: str) -> None:
    for index in range(20):
        noise = 0.2 if index % 2 else -0.2
        samples.add(GROWTH, "ours", index, requests=1e5 + index * 5e4, pss_mb=100 + slope * index * 0.05 + noise)
    found = growth(samples)
    assert found is not None and found[0] == pytest.approx(slope, abs=0.5)
    assert row(samples, "its growth")[3] == met


def test_an_overload_with_one_lost_request_misses_its_goal(samples: Samples) -> None:
    values = {"capacity": 100.0, "goodput": 95.0, "other": 0.0, "timeouts": 1.0, "held": 0.0, "recovery_seconds": 0.5}
    samples.add(OVERLOAD, "ours", TWICE, **values)
    assert row(samples, "overload: requests with neither")[2:] == ["1", "NO"]
    assert row(samples, "overload: good answers")[2:] == ["0.95", "yes"]


def test_a_step_of_a_curve_is_compared_with_its_expected_cost(samples: Samples) -> None:
    for case, rate in (("CSV: 10", 50.0), ("CSV: 100", 500.0), ("CSV: 1000", 100.0), ("JSON: 10", 1.0)):
        samples.add(BY_ROWS, "ours", case, rows_per_second=rate)
    assert steps(samples, BY_ROWS, "rows_per_second", True) == [("CSV: 10 to 100", 0.1), ("CSV: 100 to 1000", 5.0)]
    for trees, rate in ((10, 100.0), (100, 10.0)):
        samples.add(BY_TREES, "ours", trees, rows_per_second=rate)
    assert steps(samples, BY_TREES, "rows_per_second", False) == [("10 to 100", 1.0)]


def test_samples_survive_the_end_of_a_run(samples: Samples, tmp_path: Path) -> None:
    samples.add(ONE_ROW, "ours", 64, rate=1.0)
    again = Samples(tmp_path / "samples.jsonl", keep=True)
    again.add(ONE_ROW, "ours", 64, rate=3.0)
    assert Samples(tmp_path / "samples.jsonl", keep=True).median(ONE_ROW, "ours", 64, "rate") == 2.0
    assert Samples(tmp_path / "samples.jsonl").all == []
