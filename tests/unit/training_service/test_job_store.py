"""The database of jobs, and the limits of what it keeps."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from training_service.jobs import job_store
from training_service.jobs.job_store import Job, JobStore, QueueFullError, new_id, now


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobStore]:
    opened = JobStore(tmp_path / "jobs.sqlite")
    yield opened
    opened.close()


def waiting() -> Job:
    return Job(
        id=new_id(),
        state="queued",
        data="iris",
        file_name=None,
        config={"seed": 1},
        force=False,
        created_at=now(),
        started_at=None,
        finished_at=None,
        stage=None,
        share=0.0,
        text="",
        version=None,
        reason=None,
        card=None,
        log_lines=0,
    )


def test_a_job_is_read_as_written(jobs: JobStore, tmp_path: Path) -> None:
    job = waiting()
    jobs.add(job, queue_length=1)
    assert jobs.get(job.id) == job
    jobs.start_next()
    jobs.finish(job.id, "promoted", None, "v1", {"model_version": "v1"})
    again = JobStore(tmp_path / "jobs.sqlite")
    found = again.get(job.id)
    assert found is not None and (found.state, found.version, found.card) == ("promoted", "v1", {"model_version": "v1"})
    again.close()


def test_a_log_keeps_its_last_lines_with_their_numbers(jobs: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_store, "MAX_LINES", 5)
    monkeypatch.setattr(job_store, "MAX_LINE_CHARACTERS", 10)
    job = waiting()
    jobs.add(job, queue_length=1)
    for number in range(1, 13):
        jobs.append_log(job.id, f"line {number} is long")
    found = jobs.get(job.id)
    assert found is not None and found.log_lines == 12
    assert jobs.log(job.id, 0, 12) == [f"line {number} is long"[:10] for number in range(8, 13)]
    assert jobs.log(job.id, 10, 12) == ["line 11 is", "line 12 is"]
    assert jobs.log(job.id, 12, 12) == []


def test_old_jobs_are_deleted_and_waiting_ones_stay(jobs: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_store, "MAX_JOBS", 3)
    made = [waiting() for _ in range(8)]
    for job in made:
        jobs.add(job, queue_length=8)
        jobs.append_log(job.id, "a line")
    assert [job.id for job in jobs.all()] == [job.id for job in reversed(made)]
    for job in made[1:]:
        assert jobs.cancel_waiting(job.id)
    newest = waiting()
    jobs.add(newest, queue_length=8)
    assert [job.id for job in jobs.all()] == [newest.id, made[7].id, made[6].id, made[0].id]
    assert jobs.log(made[1].id, 0, 9) == [] and jobs.log(made[0].id, 0, 9) == ["a line"]


def test_concurrent_requests_never_exceed_the_queues_length(jobs: JobStore) -> None:
    rejected = []

    def ask() -> None:
        try:
            jobs.add(waiting(), queue_length=5)
        except QueueFullError:
            rejected.append(1)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (jobs.waiting(), len(rejected)) == (5, 15)
    started = [jobs.start_next() for _ in range(6)]
    assert len({job.id for job in started if job}) == 5 and started[5] is None


def test_an_ended_job_keeps_its_state(jobs: JobStore) -> None:
    job = waiting()
    jobs.add(job, queue_length=1)
    assert jobs.cancel_waiting(job.id) and not jobs.cancel_waiting(job.id)
    jobs.finish(job.id, "promoted")
    found = jobs.get(job.id)
    assert found is not None and found.state == "cancelled"
    assert jobs.interrupt_running("gone") == []
