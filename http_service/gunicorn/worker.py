"""Gunicorn's threaded worker with a lingering close that does not block."""

from concurrent.futures import Future
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from http_service.gunicorn.lingering_close import LingeringClose


class LingeringWorker(ThreadWorker):
    """Gunicorn's threaded worker, in which `LingeringClose` ends the connections."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lingering_close = LingeringClose(self)

    def finish_request(self, conn: Any, done: Future[Any]) -> None:
        """Keep or end a connection whose thread is done with its request."""
        if done.cancelled() or done.exception():
            self.nr_conns -= 1
            conn.close()
        elif done.result():
            super().finish_request(conn, done)
        else:
            self.lingering_close.start(conn)

    def murder_pending(self) -> None:
        """Close what has lingered long enough, and as the base class does; Gunicorn calls this in each round."""
        super().murder_pending()
        self.lingering_close.close_expired()
