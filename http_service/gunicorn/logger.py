"""Gunicorn's messages through the logging of the services."""

from typing import Any

from gunicorn.glogging import Logger


class ServiceLogger(Logger):
    """Leaves handlers and levels to the root logger, and requests to `request_log`."""

    def setup(self, cfg: Any) -> None:
        """Pass every record to the root logger, which `gunicorn.conf.py` configures."""
        self.error_log.handlers.clear()
        self.error_log.propagate = True

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Do nothing: the application logs each request."""

    def reopen_files(self) -> None:
        """Do nothing: logs go to standard output."""
