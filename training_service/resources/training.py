"""`/inspect`, `/train` and `/jobs`: check tables; start, follow and cancel trainings."""

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
from training_service.jobs.job_store import Job, JobStore, QueueFullError, new_id, now
from training_service.jobs.runner import Runner
from training_service.settings import TrainingServiceSettings
from training_service.uploads import TableRequest, parse_json, read_request

_RETRY_SECONDS = 30
# A killed process is gone within milliseconds.
_MAX_END_SECONDS = 5.0
_TABLES = tuple(sorted(DATASETS))


def blueprint(settings: TrainingServiceSettings, jobs: JobStore, runner: Runner) -> Blueprint:
    """Return the endpoints."""
    training = Blueprint("training", __name__)

    @training.post("/inspect")
    def check_table() -> ResponseReturnValue:
        """Return the table's columns, the results of its checks, and its first rows."""
        name = f"inspect-{new_id()}"
        folder = runner.folder(name)
        try:
            uploaded = read_request(request, folder, settings.max_table_bytes, _TABLES)
            table = uploaded.data or str(folder / str(uploaded.file_name))
            return inspect(settings, folder, table, target_of(uploaded.fields), ignore_of(uploaded.fields))
        finally:
            runner.remove_files(name)

    @training.post("/train")
    def train() -> ResponseReturnValue:
        """Queue a training; answer 202 with the job."""
        if jobs.waiting() >= settings.queue_length:
            raise _queue_full(settings)
        job_id = new_id()
        try:
            uploaded = read_request(request, runner.folder(job_id), settings.max_table_bytes, _TABLES)
            job = _job(job_id, uploaded)
            try:
                jobs.add(job, settings.queue_length)
            except QueueFullError:
                raise _queue_full(settings) from None
        except BaseException:
            runner.remove_files(job_id)
            raise
        runner.wake()
        return _shown(job), 202, {"Location": url_for("training.one_job", job_id=job_id)}

    @training.get("/jobs")
    def all_jobs() -> ResponseReturnValue:
        """List the kept jobs, newest first, without logs and cards."""
        return {"jobs": [_shown(job) for job in jobs.all()]}

    @training.get("/jobs/<job_id>")
    def one_job(job_id: str) -> ResponseReturnValue:
        """Return one job with its log, without the first `log_after` lines."""
        after = request.args.get("log_after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > 15:
            raise Problem(422, "log_after must be a number of lines, 0 or more.", field="log_after")
        job = _existing(jobs, job_id)
        # Up to log_lines, which is the client's next log_after.
        return {**_shown(job), "log": jobs.log(job_id, int(after), job.log_lines)}

    @training.post("/jobs/<job_id>/cancel")
    def cancel(job_id: str) -> ResponseReturnValue:
        """Cancel a job; answer 409 if it has ended."""
        before = _existing(jobs, job_id)
        if jobs.cancel_waiting(job_id):
            runner.remove_files(job_id)
        elif runner.cancel(job_id):
            _wait_for_end(jobs, job_id)
        job = _existing(jobs, job_id)
        if before.has_ended or (job.has_ended and job.state != "cancelled"):
            raise Problem(409, f"The job has ended: it is {job.state}.")
        return _shown(job)

    return training


def _job(job_id: str, uploaded: TableRequest) -> Job:
    config, force = uploaded.fields.get("config", {}), uploaded.fields.get("force", False)
    if uploaded.file_name:
        # In a form, everything is text.
        config = parse_json(config, "config") if isinstance(config, str) else config
        force = parse_json(force, "force") if isinstance(force, str) and force else force
    if not isinstance(force, bool):
        raise Problem(422, "force must be true or false.", field="force")
    return Job(
        id=job_id,
        state="queued",
        data=uploaded.data,
        file_name=uploaded.file_name,
        config=check_configuration(config),
        force=force,
        created_at=now(),
    )


def _wait_for_end(jobs: JobStore, job_id: str) -> None:
    """Wait until the killed job is recorded as ended."""
    deadline = time.monotonic() + _MAX_END_SECONDS
    while not _existing(jobs, job_id).has_ended and time.monotonic() < deadline:
        time.sleep(0.02)


def _existing(jobs: JobStore, job_id: str) -> Job:
    job = jobs.get(job_id)
    if job is None:
        raise Problem(404, "There is no such job; GET /jobs lists all that are kept.")
    return job


def _shown(job: Job) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(job)
    return shown


def _queue_full(settings: TrainingServiceSettings) -> Problem:
    return Problem(
        429,
        f"The queue is full: {settings.queue_length} jobs are waiting; try again when one has started, or cancel one.",
        headers={"Retry-After": str(_RETRY_SECONDS)},
    )
