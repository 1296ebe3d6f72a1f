"""The threads of a worker."""

from concurrent.futures import ThreadPoolExecutor


class ThreadPool(ThreadPoolExecutor):
    """A pool that keeps its threads when the system has no room for another one (the pids limit of a container)."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            # Uncaught, it would end the thread that accepts connections, and with it the worker.
            if not self._threads:
                raise
