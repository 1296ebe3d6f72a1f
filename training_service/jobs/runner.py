"""The thread that runs queued jobs, one at a time, in order."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from http_service.problems import sentence
from model_artifact.errors import RegistryError
from model_artifact.training_record import TrainingRecord
from model_training.registry.registry import Registry
from training_service.jobs.configuration_file import write_configuration
from training_service.jobs.job_store import Job, JobStore, State, now
from training_service.jobs.training_process import Event, TrainingProcess
from training_service.settings import TrainingServiceSettings

_POLL_SECONDS = 1.0
_RESTARTED = "The service was stopped while it ran; start it again."
_WHILE_REGISTERING = " It was being registered; the list of models shows whether it became champion."

_log = logging.getLogger(__name__)


class Runner:
    """Runs the queue's jobs until it is stopped, while it holds the folder's lock."""

    def __init__(self, settings: TrainingServiceSettings, jobs: JobStore, registry: Registry) -> None:
        self._settings = settings
        self._jobs = jobs
        self._registry = registry
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._state = threading.Lock()
        self._current: str | None = None
        self._process: TrainingProcess | None = None
        self._cancelled = False
        self._reason_not_ready: str | None = "The service is starting."
        # Listed before the first request: leftovers, unless they belong to a waiting job.
        folder = settings.folder / "jobs"
        self._leftovers = list(folder.iterdir()) if folder.is_dir() else []

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Interrupt the running job and stop; waiting jobs stay for the next start."""
        self._stopping.set()
        self._woken.set()
        self._kill()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wake(self) -> None:
        """Check the queue now."""
        self._woken.set()

    def why_not_ready(self) -> str | None:
        """Return in one sentence why no job can run; None if jobs can run."""
        if not self._thread.is_alive():
            return "Jobs are not taken from the queue; restart the service."
        return self._reason_not_ready

    def cancel(self, job_id: str) -> bool:
        """Kill the job if it is running; return False if it is not."""
        with self._state:
            if self._current != job_id:
                return False
            self._cancelled = True
        self._kill()
        return True

    def folder(self, job_id: str) -> Path:
        """Return the folder of the job's files, which are kept until it ends."""
        return self._settings.folder / "jobs" / job_id

    def remove_files(self, job_id: str) -> None:
        """Remove the job's files."""
        shutil.rmtree(self.folder(job_id), ignore_errors=True)

    def _run(self) -> None:
        lock = self._lock()
        if lock is None:
            return
        try:
            self._recover()
            self._reason_not_ready = None
            while not self._stopping.is_set():
                self._woken.clear()
                job = self._take()
                if job is None:
                    self._woken.wait(_POLL_SECONDS)
                else:
                    self._run_job(job)
        finally:
            os.close(lock)

    def _lock(self) -> int | None:
        """Wait for the folder's lock, since the previous worker may still be stopping. Return None when stopped."""
        descriptor = os.open(self._settings.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        while not self._stopping.is_set():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._reason_not_ready = (
                    f"Another training service uses {self._settings.folder}; stop it, or set another TRAINING_DIR."
                )
                self._stopping.wait(_POLL_SECONDS / 2)
            else:
                return descriptor
        os.close(descriptor)
        return None

    def _recover(self) -> None:
        """Mark running jobs as interrupted, and remove files that belong to no waiting job."""
        for job_id in self._jobs.interrupt_running(_RESTARTED):
            _log.warning("job interrupted", extra={"job": job_id})
        waiting = {job.id for job in self._jobs.all() if not job.has_ended}
        for path in self._leftovers:
            if path.name not in waiting:
                shutil.rmtree(path, ignore_errors=True)

    def _take(self) -> Job | None:
        try:
            with self._state:
                job = self._jobs.start_next()
                self._current = job.id if job else None
            return job
        # A full disk must not end the thread.
        except Exception:
            _log.exception("the queue cannot be read")
            return None

    def _run_job(self, job: Job) -> None:
        _log.info("job started", extra={"job": job.id})
        state: State = "failed"
        try:
            state = _JobRun(self._settings, self._jobs, self._registry, job, self.folder(job.id)).run(
                self._begin, self._stopped_as
            )
        # The next job must run in any case.
        except Exception:
            _log.exception("a job failed unexpectedly", extra={"job": job.id})
            with suppress(Exception):
                self._jobs.finish(job.id, "failed", "The service failed to run it; the service's log has the reason.")
        finally:
            with self._state:
                self._current = self._process = None
                self._cancelled = False
            self.remove_files(job.id)
        _log.info("job ended", extra={"job": job.id, "state": state})

    def _begin(self, process: TrainingProcess) -> None:
        with self._state:
            self._process = process
        # It may have been cancelled while it started.
        if self._stopped_as():
            self._kill()

    def _kill(self) -> None:
        with self._state:
            if self._process:
                self._process.kill()

    def _stopped_as(self) -> State | None:
        """Return the state of a job that this service stopped, else None."""
        with self._state:
            if self._cancelled:
                return "cancelled"
        return "interrupted" if self._stopping.is_set() else None


@dataclass
class _JobRun:
    """One run of a job."""

    _settings: TrainingServiceSettings
    _jobs: JobStore
    _registry: Registry
    _job: Job
    _folder: Path
    _stage: str | None = None
    _error: str | None = None
    _result: Event | None = None

    def run(self, begin: Callable[[TrainingProcess], None], stopped_as: Callable[[], State | None]) -> State:
        """Run the job; record and return its final state."""
        job = self._job
        process = TrainingProcess(self._arguments(), self._settings.job_seconds, self._settings.job_memory_mb)
        begin(process)
        status = process.run(self._on_event)
        if self._result:
            return self._finish_with_result(self._result)
        state = stopped_as()
        if state:
            reason = "It was cancelled." if state == "cancelled" else _RESTARTED
            self._jobs.finish(job.id, state, reason + (_WHILE_REGISTERING if self._stage == "register" else ""))
            return state
        reason = self._error or process.failure_reason(status)
        if process.is_out_of_memory(reason):
            reason = process.out_of_memory
        if self._stage == "register" and not self._error:
            reason += _WHILE_REGISTERING
        self._jobs.finish(job.id, "failed", reason)
        if not self._error:
            self._record_failure(reason)
        return "failed"

    def _arguments(self) -> list[str]:
        job = self._job
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "training.toml"
        config = dict(job.config)
        config["data"] = job.data or str(self._folder / str(job.file_name))
        write_configuration(path, config)
        arguments = ["--config", str(path), "--store", self._settings.model_store, "--events"]
        return [*arguments, "--force"] if job.force else arguments

    def _on_event(self, event: Event) -> None:
        # The service's folders are not the caller's business.
        text = str(event.get("text", "")).replace(f"{self._folder}/", "")
        if event["event"] == "progress":
            self._stage = str(event.get("stage", ""))
            share = event.get("share")
            share = min(1.0, max(0.0, float(share))) if isinstance(share, int | float) else 0.0
            self._jobs.set_progress(self._job.id, self._stage, share, text)
            self._jobs.append_log(self._job.id, text)
        elif event["event"] == "warning":
            self._jobs.append_log(self._job.id, f"Warning: {text}")
        elif event["event"] == "error":
            self._error = sentence(text)
            self._jobs.append_log(self._job.id, f"Error: {text}")
        elif event["event"] == "result":
            self._result = event

    def _finish_with_result(self, event: Event) -> State:
        state: State = "promoted" if event.get("outcome") == "promoted" else "rejected"
        card = event.get("card")
        card = card if isinstance(card, dict) else {}
        reasons = " ".join((card.get("gate") or {}).get("reasons", []))
        self._jobs.set_progress(self._job.id, "register", 1.0, "done")
        self._jobs.finish(self._job.id, state, reasons or None, event.get("version"), card)
        return state

    def _record_failure(self, reason: str) -> None:
        """Record the failure, as the command does itself unless it is killed."""
        try:
            self._registry.record(TrainingRecord(finished_at=now(), outcome="failed", reason=reason))
        except RegistryError as error:
            _log.error("the training's outcome was not recorded", extra={"reason": str(error)})
