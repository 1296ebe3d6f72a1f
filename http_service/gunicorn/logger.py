"""Gunicorn's messages through the logging of the API."""

from typing import Any

from gunicorn.glogging import Logger


class GunicornLogger(Logger):
    """Leaves handlers and levels to the root logger, and requests to `request_log`."""

    def setup(self, cfg: Any) -> None:
        """Let every record go up to the root logger, which `gunicorn.conf.py` has set up."""
        self.error_log.handlers.clear()
        self.error_log.propagate = True

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Nothing: the application writes one line a request itself."""

    def reopen_files(self) -> None:
        """Nothing: logs go to standard output."""
