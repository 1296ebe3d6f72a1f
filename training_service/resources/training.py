"""`/inspect`, `/train` and `/jobs`: tables are checked, and trainings asked for, watched and cancelled."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from http_service.problems import Problem
from model_training.data.datasets import DATASETS
from training_service.inspection import ignore_of, inspect, target_of
from training_service.jobs.configuration_file import check_configuration
from training_service.jobs.job_store import Job, Jobs, QueueFullError, new_id, now
from training_service.jobs.runner import Runner
from training_service.settings import TrainingServiceSettings
from training_service.uploads import TableRequest, parse_json, read_request

# A training takes seconds to hours; who asks again after this finds a place or not.
_RETRY_SECONDS = 30
_END_SECONDS = 5.0
_TABLES = tuple(sorted(DATASETS))


def blueprint(settings: TrainingServiceSettings, jobs: Jobs, runner: Runner) -> Blueprint:
    """The routes."""
    training = Blueprint("training", __name__)

    @training.post("/inspect")
    def check_table() -> ResponseReturnValue:
        """The columns of a table, what its checks say, and its first rows."""
        name = f"inspect-{new_id()}"
        folder = runner.folder(name)
        try:
            asked = read_request(request, folder, settings.max_table_bytes, _TABLES)
            table = asked.data or str(folder / str(asked.file_name))
            return inspect(settings, folder, table, target_of(asked.fields), ignore_of(asked.fields))
        finally:
            runner.forget_files(name)

    @training.post("/train")
    def train() -> ResponseReturnValue:
        """202 with the job, which waits for its turn."""
        if jobs.waiting() >= settings.queue_length:
            raise _full(settings)
        job_id = new_id()
        try:
            asked = read_request(request, runner.folder(job_id), settings.max_table_bytes, _TABLES)
            job = _job(job_id, asked)
            try:
                jobs.add(job, settings.queue_length)
            except QueueFullError:
                raise _full(settings) from None
        except BaseException:
            runner.forget_files(job_id)
            raise
        runner.wake()
        return _shown(job), 202, {"Location": url_for("training.one_job", job_id=job_id)}

    @training.get("/jobs")
    def all_jobs() -> ResponseReturnValue:
        """Every job that is remembered, the newest first, without logs and cards."""
        return {"jobs": [_shown(job) for job in jobs.all()]}

    @training.get("/jobs/<job_id>")
    def one_job(job_id: str) -> ResponseReturnValue:
        """One job with its log, or with the lines after the first so many."""
        after = request.args.get("log_after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > 15:
            raise Problem(422, "log_after must be a number of lines, 0 or more.", field="log_after")
        job = _existing(jobs, job_id)
        # Not beyond its log_lines, which is what a client asks from the next time.
        return {**_shown(job), "log": jobs.log(job_id, int(after), job.log_lines)}

    @training.post("/jobs/<job_id>/cancel")
    def cancel(job_id: str) -> ResponseReturnValue:
        """The cancelled job; 409 if it was over."""
        before = _existing(jobs, job_id)
        if jobs.cancel_waiting(job_id):
            runner.forget_files(job_id)
        elif runner.cancel(job_id):
            _wait_for_the_end(jobs, job_id)
        job = _existing(jobs, job_id)
        if before.is_over or (job.is_over and job.state != "cancelled"):
            raise Problem(409, f"The job is over: it is {job.state}.")
        return _shown(job)

    return training


def _job(job_id: str, asked: TableRequest) -> Job:
    config, force = asked.fields.get("config", {}), asked.fields.get("force", False)
    if asked.file_name:
        # In a form, everything is text.
        config = parse_json(config, "config") if isinstance(config, str) else config
        force = parse_json(force, "force") if isinstance(force, str) and force else force
    if not isinstance(force, bool):
        raise Problem(422, "force must be true or false.", field="force")
    return Job(
        id=job_id,
        state="queued",
        data=asked.data,
        file_name=asked.file_name,
        config=check_configuration(config),
        force=force,
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


def _wait_for_the_end(jobs: Jobs, job_id: str) -> None:
    """A moment, in which a killed process is gone."""
    deadline = time.monotonic() + _END_SECONDS
    while not _existing(jobs, job_id).is_over and time.monotonic() < deadline:
        time.sleep(0.02)


def _existing(jobs: Jobs, job_id: str) -> Job:
    job = jobs.get(job_id)
    if job is None:
        raise Problem(404, "There is no job of that name; GET /jobs lists those that are remembered.")
    return job


def _shown(job: Job) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(job)
    return shown


def _full(settings: TrainingServiceSettings) -> Problem:
    return Problem(
        429,
        f"{settings.queue_length} jobs wait already, and no more may; try again when one has begun, or cancel one.",
        headers={"Retry-After": str(_RETRY_SECONDS)},
    )
