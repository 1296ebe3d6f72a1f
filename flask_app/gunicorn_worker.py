"""Gunicorn's threaded worker, in which clients that stall do not keep others waiting."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from flask_app.gunicorn_gate import gate

# Clients that may stall at a time in one worker before others have to wait for them. Threads are made when needed.
STALLED_CLIENTS = 128


class Threads(ThreadPoolExecutor):
    """Where the system refuses a further thread (a container's pids limit), work waits for one of those there are."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            # It would end Gunicorn's accepting thread, and with it the worker.
            if not self._threads:
                raise


class ApiWorker(ThreadWorker):
    """The setting `threads` counts those that work; those that wait for a client come on top."""

    cfg: Any

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Called once, in the worker's own process."""
        gate.open(self.cfg.threads)
        return Threads(max_workers=self.cfg.threads + STALLED_CLIENTS)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer one request, whose head has been read."""
        with gate.inside():
            return super().handle_request(req, conn)
