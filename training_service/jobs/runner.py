"""The one thread that lets jobs run, one at a time, in the order in which they came."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from http_service.problems import sentence
from model_artifact.training_record import TrainingRecord
from model_training.registry.registry import Registry, RegistryError
from training_service.jobs.configuration_file import write_configuration
from training_service.jobs.job_store import Job, Jobs, State
from training_service.jobs.training_process import Event, TrainingProcess
from training_service.settings import TrainingServiceSettings

_LOOK_SECONDS = 1.0
_RESTARTED = "The service was stopped while it ran; start it again."
_IN_DOUBT = " It was being registered: the list of models says whether it became champion."

_log = logging.getLogger(__name__)


class Runner:
    """Takes jobs off the queue until it is stopped; only the holder of the folder's lock does."""

    def __init__(self, settings: TrainingServiceSettings, jobs: Jobs, registry: Registry) -> None:
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
        # Before there are requests: what is there now and belongs to no job that waits, nobody needs any more.
        folder = settings.folder / "jobs"
        self._left_behind = list(folder.iterdir()) if folder.is_dir() else []

    def start(self) -> None:
        """Begin, with what an earlier run of the service left."""
        self._thread.start()

    def stop(self) -> None:
        """Interrupt the running job and end; what waits is for the next run."""
        self._stopping.set()
        self._woken.set()
        self._kill()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def wake(self) -> None:
        """Look at the queue now."""
        self._woken.set()

    def why_not_ready(self) -> str | None:
        """Why no job can run, in one sentence; None if they can."""
        if not self._thread.is_alive():
            return "Jobs are not taken from the queue; restart the service."
        return self._reason_not_ready

    def cancel(self, job_id: str) -> bool:
        """End the job if it is the one that runs; False if it is not."""
        with self._state:
            if self._current != job_id:
                return False
            self._cancelled = True
        self._kill()
        return True

    def folder(self, job_id: str) -> Path:
        """Where the job's files lie while it is not over."""
        return self._settings.folder / "jobs" / job_id

    def forget_files(self, job_id: str) -> None:
        """Remove them."""
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
                    self._woken.wait(_LOOK_SECONDS)
                else:
                    self._run_job(job)
        finally:
            os.close(lock)

    def _lock(self) -> int | None:
        """The folder's lock, waited for: the worker before this one may still be ending. None when told to stop."""
        descriptor = os.open(self._settings.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        while not self._stopping.is_set():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._reason_not_ready = (
                    f"Another training service uses {self._settings.folder}; stop it, or set another TRAINING_DIR."
                )
                self._stopping.wait(_LOOK_SECONDS / 2)
            else:
                return descriptor
        os.close(descriptor)
        return None

    def _recover(self) -> None:
        """Mark what was running, and remove the files of jobs that are over, or that never came to be."""
        for job_id in self._jobs.interrupt_running(_RESTARTED):
            _log.warning("job interrupted", extra={"job": job_id})
        waiting = {job.id for job in self._jobs.all() if not job.is_over}
        for path in self._left_behind:
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
            state = _Run(self._settings, self._jobs, self._registry, job, self.folder(job.id)).run(
                self._begin, self._why
            )
        # Whatever it was, the next job has to get its turn.
        except Exception:
            _log.exception("a job failed unforeseen", extra={"job": job.id})
            with suppress(Exception):
                self._jobs.finish(job.id, "failed", "The service failed to run it; its log has the reason.")
        finally:
            with self._state:
                self._current = self._process = None
                self._cancelled = False
            self.forget_files(job.id)
        _log.info("job ended", extra={"job": job.id, "state": state})

    def _begin(self, process: TrainingProcess) -> None:
        with self._state:
            self._process = process
        # It may have been cancelled while it was being started.
        if self._why():
            self._kill()

    def _kill(self) -> None:
        with self._state:
            if self._process:
                self._process.kill()

    def _why(self) -> State | None:
        """What was done to the running job from here, if anything."""
        with self._state:
            if self._cancelled:
                return "cancelled"
        return "interrupted" if self._stopping.is_set() else None


class _Run:
    """One job, from its start to its end."""

    def __init__(
        self, settings: TrainingServiceSettings, jobs: Jobs, registry: Registry, job: Job, folder: Path
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._registry = registry
        self._job = job
        self._folder = folder
        self._stage: str | None = None
        self._error: str | None = None
        self._result: Event | None = None

    def run(self, begin: Callable[[TrainingProcess], None], what_was_done: Callable[[], State | None]) -> State:
        """Returns the state that it ended in, which the database has, too."""
        job = self._job
        process = TrainingProcess(self._arguments(), self._settings.job_seconds, self._settings.job_memory_mb)
        begin(process)
        status = process.run(self._on_event)
        if self._result:
            return self._finish_with_result(self._result)
        done = what_was_done()
        if done:
            reason = "It was cancelled." if done == "cancelled" else _RESTARTED
            self._jobs.finish(job.id, done, reason + (_IN_DOUBT if self._stage == "register" else ""))
            return done
        reason = self._error or process.why_it_failed(status)
        if process.is_for_want_of_memory(reason):
            reason = process.no_memory
        if self._stage == "register" and not self._error:
            reason += _IN_DOUBT
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
        # Where the table lies for now is nobody's business.
        text = str(event.get("text", "")).replace(f"{self._folder}/", "")
        if event["event"] == "progress":
            self._stage = str(event.get("stage", ""))
            share = event.get("share")
            share = min(1.0, max(0.0, float(share))) if isinstance(share, int | float) else 0.0
            self._jobs.progress(self._job.id, self._stage, share, text)
            self._jobs.tell(self._job.id, text)
        elif event["event"] == "warning":
            self._jobs.tell(self._job.id, f"Warning: {text}")
        elif event["event"] == "error":
            self._error = sentence(text)
            self._jobs.tell(self._job.id, f"Error: {text}")
        elif event["event"] == "result":
            self._result = event

    def _finish_with_result(self, event: Event) -> State:
        state: State = "promoted" if event.get("outcome") == "promoted" else "rejected"
        card = event.get("card")
        card = card if isinstance(card, dict) else {}
        reasons = " ".join((card.get("gate") or {}).get("reasons", []))
        self._jobs.progress(self._job.id, "register", 1.0, "done")
        self._jobs.finish(self._job.id, state, reasons or None, event.get("version"), card)
        return state

    def _record_failure(self, reason: str) -> None:
        """What the command itself does at each end that it lives to see."""
        finished_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            self._registry.record(TrainingRecord(finished_at=finished_at, outcome="failed", reason=reason))
        except RegistryError as error:
            _log.error("the end of the training cannot be recorded", extra={"reason": str(error)})
