"""Gunicorn's settings: `gunicorn -c training_service/gunicorn.conf.py training_service.wsgi:app`."""

import logging.config
import sys
from pathlib import Path
from typing import Any

# Gunicorn reads this file before it puts the working directory on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from http_service.gunicorn import patches
from http_service.gunicorn.common_settings import *
from http_service.gunicorn.common_settings import bind_to
from http_service.logs import logging_config
from http_service.settings import SettingsError
from training_service.admin_token import AdminToken
from training_service.settings import TrainingServiceSettings

try:
    patches.check_version()
    _settings = TrainingServiceSettings.from_env()
    _settings.registry()
    AdminToken(_settings)
except (SettingsError, patches.UntestedGunicornError) as error:
    sys.exit(f"training-api: {error}")

bind = bind_to(_settings.bind_address, _settings.training_api_port)

# One, which has the queue. Threads wait for uploads, checks and answers; jobs run in processes of their own.
workers = 1
worker_class = "http_service.gunicorn.worker.LingeringWorker"
threads = 32
worker_connections = 256
keepalive = 75
graceful_timeout = _settings.graceful_timeout_seconds
# Gunicorn kills the worker after so many seconds without a heartbeat.
timeout = 60

logging.config.dictConfig(logging_config(_settings.log_format, _settings.log_level))


def post_fork(_server: object, _worker: object) -> None:
    """Apply the patches, in the worker."""
    patches.apply()


def worker_exit(_server: object, worker: Any) -> None:
    """Stop the worker's job, which is recorded as interrupted."""
    if getattr(worker, "wsgi", None) is not None:
        worker.wsgi.extensions["runner"].stop()
