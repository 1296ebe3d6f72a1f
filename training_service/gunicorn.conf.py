"""Gunicorn's settings: `gunicorn -c training_service/gunicorn.conf.py training_service.wsgi:app`."""

import logging.config
import os
import sys
from pathlib import Path
from typing import Any

# Gunicorn reads this file before it puts the working directory on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gunicorn.http import parser
from gunicorn.workers import gthread

from http_service.logs import logging_config
from http_service.settings import SettingsError
from training_service.admin_token import AdminToken
from training_service.connection import TimedConnection, TimedUnreader
from training_service.settings import TrainingServiceSettings

try:
    _settings = TrainingServiceSettings.from_env()
    _settings.registry()
    AdminToken(_settings)
except SettingsError as error:
    sys.exit(f"training-api: {error}")

_host = f"[{_settings.bind_address}]" if ":" in _settings.bind_address else _settings.bind_address
bind = f"{_host}:{_settings.training_api_port}"

# One: it holds the queue. Threads wait for uploads, checks and answers; the work is done in the jobs' processes.
workers = 1
worker_class = "gthread"
threads = 32
worker_connections = 256
preload_app = False
keepalive = 75
graceful_timeout = _settings.graceful_timeout_seconds
timeout = 60
max_requests = 0
# Opens a socket below the home folder, which a read-only container does not have.
control_socket_disable = True
# The heartbeat is a file's time stamp; on a disk a busy device stalls it (gunicorn#1863).
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

logging.config.dictConfig(logging_config(_settings.log_format, _settings.log_level))
logger_class = "training_service.connection.QuietLogger"


def post_fork(_server: object, _worker: object) -> None:
    """In the worker: an end to clients that stall; there is no setting for it."""
    gthread.TConn = TimedConnection
    parser.SocketUnreader = TimedUnreader


def worker_exit(_server: object, worker: Any) -> None:
    """In the worker, when it is about to end: its job ends with it, and is known to have been interrupted."""
    if getattr(worker, "wsgi", None) is not None:
        worker.wsgi.extensions["runner"].stop()
