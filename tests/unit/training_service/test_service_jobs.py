"""Jobs run as `model_training.train`, one at a time, within limits, and report their progress."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from model_artifact.training_record import read_record
from tests.unit.training_service.running import ENDLESS, QUICK, Service, eventually

CSV = "width,height,colour\n" + "".join(f"{i % 7}.5,{i % 11},{'red' if i % 2 else 'blue'}\n" for i in range(60))


def test_an_uploaded_table_becomes_a_version(service: Service) -> None:
    """From the upload to the end of the log; the upload is removed."""
    config = '{"target":"colour","folds":0,"parameters":{"n_estimators":5}}'
    answer = service.ask("POST", "/train", files={"file": ("colours.csv", CSV)}, data={"config": config})
    assert answer.status_code == 202
    queued = answer.json()
    assert answer.headers["Location"] == f"/jobs/{queued['id']}"
    assert queued["file_name"] == "colours.csv" and queued["data"] is None
    job = service.end_of(queued["id"])
    # Random labels with features of noise.
    assert job["state"] == "rejected", job
    assert job["config"]["target"] == "colour" and job["config"]["seed"] == 42
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    assert job["share"] == 1.0
    assert job["card"]["model_version"] == job["version"] and job["card"]["model_name"] == "colours"
    assert job["reason"] == " ".join(job["card"]["gate"]["reasons"]) != ""
    assert job["log_lines"] == len(job["log"]) >= 5
    assert job["log"][0] == "reading colours.csv"
    assert service.ask("GET", f"/jobs/{job['id']}?log_after=3").json()["log"] == job["log"][3:]
    assert service.ask("GET", f"/jobs/{job['id']}?log_after={job['log_lines']}").json()["log"] == []
    eventually(lambda: list((service.folder / "training" / "jobs").iterdir()) == [])
    listed = service.ask("GET", "/jobs").json()["jobs"][0]
    assert {name: value for name, value in job.items() if name not in ("log", "card")} == {
        name: value for name, value in listed.items() if name != "card"
    }


def test_a_worse_model_is_rejected_with_the_reason_unless_forced(service: Service) -> None:
    champion = service.store.current()
    worse = {"data": "iris", "config": {"folds": 0, "gate": {"min_accuracy": 1.0}, "parameters": {"n_estimators": 1}}}
    job = service.end_of(service.train(worse))
    assert job["state"] == "rejected"
    assert "accuracy" in job["reason"]
    assert service.store.current() == champion
    forced = service.end_of(service.train({**worse, "force": True}))
    assert forced["state"] == "promoted", forced
    assert forced["card"]["gate"]["forced"] is True
    assert service.store.current() == forced["version"]
    assert service.ask("POST", "/rollback").json() == {"champion": champion}


def test_one_job_runs_two_wait_and_the_next_is_rejected(service: Service) -> None:
    champion = service.store.current()
    running = service.train(ENDLESS)
    service.reaches(running, "search")
    waiting = [service.train(QUICK) for _ in range(2)]
    full = service.ask("POST", "/train", json=QUICK)
    assert full.status_code == 429
    assert int(full.headers["Retry-After"]) > 0
    assert full.json()["detail"].startswith("The queue is full: 2 jobs are waiting")
    # Rejected before the service receives it.
    assert service.ask("POST", "/train", files={"file": ("t.csv", CSV)}).status_code == 429
    assert [service.job(name)["state"] for name in waiting] == ["queued", "queued"]
    assert len(service.job_processes()) == 1

    cancelled = service.ask("POST", f"/jobs/{waiting[0]}/cancel")
    assert cancelled.json()["state"] == "cancelled" and cancelled.json()["started_at"] is None
    cancelled = service.ask("POST", f"/jobs/{running}/cancel").json()
    assert cancelled["state"] == "cancelled" and cancelled["reason"] == "It was cancelled."
    again = service.ask("POST", f"/jobs/{running}/cancel")
    assert again.status_code == 409
    assert again.json()["detail"] == "The job has ended: it is cancelled."
    # The remaining job runs.
    last = service.end_of(waiting[1])
    assert last["state"] in ("promoted", "rejected"), last
    assert service.ask("POST", f"/jobs/{waiting[1]}/cancel").status_code == 409
    if last["state"] == "rejected":
        assert service.store.current() == champion


def test_a_killed_job_leaves_the_champion_unchanged(service: Service) -> None:
    champion, versions = service.store.current(), service.store.versions()
    name = service.train(ENDLESS)
    service.reaches(name, "search")
    (process,) = service.job_processes()
    os.kill(process, signal.SIGKILL)
    job = service.end_of(name)
    assert job["state"] == "failed"
    assert job["reason"].startswith("It was killed, most likely")
    assert (service.store.current(), service.store.versions()) == (champion, versions)
    # The metrics show the failure.
    record = eventually(lambda: (found := read_record(service.store.root)) and found.outcome == "failed" and found)
    assert record.reason == job["reason"]


def test_a_job_has_limits_of_time_and_memory(make_service: Callable[..., Service]) -> None:
    service = make_service(job_seconds=8, job_memory_mb=1000).start()
    champion = service.store.current()
    job = service.end_of(service.train(ENDLESS))
    assert job["state"] == "failed"
    assert job["reason"] == "It exceeded the time limit of 8 seconds and was stopped."
    assert service.job_processes() == []
    service.stop()
    # Enough for Python, too little for a training.
    service.start(job_seconds=600, job_memory_mb=100, inspect_memory_mb=90)
    job = service.end_of(service.train(ENDLESS))
    assert job["state"] == "failed"
    assert "t exceeded the memory limit of 100 MB (JOB_MEMORY_MB)" in job["reason"], job
    looked = service.ask("POST", "/inspect", json={"data": "digits"})
    assert looked.status_code == 422 and "memory limit of 90 MB (INSPECT_MEMORY_MB)" in looked.json()["detail"]
    assert service.store.current() == champion
    service.stop()


def test_the_log_shows_the_last_lines_and_no_path_of_the_service(service: Service) -> None:
    table = "a,b\n" + "".join(f"{i},{i % 2}\n" for i in range(40))
    answer = service.ask("POST", "/train", files={"file": ("t.csv", table)}, data={"config": '{"target":"nothing"}'})
    job = service.end_of(answer.json()["id"])
    assert job["state"] == "failed"
    assert "nothing" in job["reason"]
    assert job["log"][-1] == f"Error: {job['reason']}"
    assert str(service.folder) not in str(job)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it looks into /proc")
def test_a_job_runs_at_low_priority(service: Service) -> None:
    name = service.train(ENDLESS)
    service.reaches(name, "search")
    (process,) = service.job_processes()
    assert os.getpriority(os.PRIO_PROCESS, process) >= 10
    assert os.getpgid(process) == process
    assert Path(f"/proc/{process}/oom_score_adj").read_text().strip() == "500"
    limits = Path(f"/proc/{process}/limits").read_text()
    assert f"{4096 * 1024 * 1024}" in next(line for line in limits.splitlines() if "data size" in line)
