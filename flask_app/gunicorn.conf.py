"""Gunicorn's settings: `gunicorn -c flask_app/gunicorn.conf.py flask_app.wsgi:app`."""

import logging.config
import os
import sys
from pathlib import Path

# Gunicorn reads this file before it puts the working directory on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gunicorn.http import wsgi

from flask_app.gunicorn_response import OneWriteResponse
from flask_app.logs import logging_config
from flask_app.settings import Settings, SettingsError

try:
    _settings = Settings.from_env()
except SettingsError as error:
    sys.exit(f"flask-api: {error}")

_host = f"[{_settings.bind_address}]" if ":" in _settings.bind_address else _settings.bind_address
bind = f"{_host}:{_settings.api_port}"

workers = _settings.web_concurrency
worker_class = "gthread"
threads = _settings.threads
# XGBoost's libgomp does not survive a fork: a prediction in a forked child would hang for ever (xgboost#7044).
preload_app = False
# Each worker has one core; XGBoost and BLAS with a thread a core each would fight over them (kserve#548).
raw_env = ["OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"]

keepalive = _settings.keepalive_seconds
graceful_timeout = _settings.graceful_timeout_seconds
# Seconds without a heartbeat after which a worker counts as hung.
timeout = 30
# A recycled worker drops what waits in its queue (gunicorn#3038), so workers live on.
max_requests = 0
reuse_port = False
# Opens a socket below the home folder, which a read-only container does not have.
control_socket_disable = True
# The heartbeat is a file's time stamp; on a disk a busy device stalls it (gunicorn#1863).
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

logging.config.dictConfig(logging_config(_settings.log_format, _settings.log_level))
logger_class = "flask_app.gunicorn_logger.GunicornLogger"


def post_fork(_server: object, _worker: object) -> None:
    """In each worker: answers in one write; the threaded worker has no setting for that."""
    wsgi.Response = OneWriteResponse
