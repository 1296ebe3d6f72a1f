"""Gunicorn's settings: `gunicorn -c flask_app/gunicorn.conf.py flask_app.wsgi:app`."""

import logging
import logging.config
import os
import resource
import sys
from pathlib import Path
from typing import Any

# Gunicorn reads this file before it puts the working directory on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gunicorn import util
from gunicorn.http import parser, wsgi
from gunicorn.workers import gthread

from flask_app import metrics_files
from flask_app.api_keys import KeyRing
from flask_app.server.balance import Balance
from flask_app.server.connection import TimedConnection, TimedUnreader
from flask_app.server.problem import write_problem
from flask_app.server.response import OneWriteResponse
from flask_app.settings import ApiSettings
from flask_app.tables.pandas_block import block_pandas
from http_service.logs import logging_config
from http_service.settings import SettingsError

block_pandas()

try:
    _settings = ApiSettings.from_env()
    KeyRing(_settings).check()
    _settings.public_keys()
    _settings.registered_model()
except SettingsError as error:
    sys.exit(f"flask-api: {error}")

_host = f"[{_settings.bind_address}]" if ":" in _settings.bind_address else _settings.bind_address
bind = f"{_host}:{_settings.api_port}"

workers = _settings.web_concurrency
worker_class = "flask_app.server.worker.ApiWorker"
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

# Connections of a worker: the last third is turned away with a 503, and beyond that they wait to be accepted. Each
# takes a file descriptor, of which many systems give 1,024 to those who do not ask for more.
worker_connections = 6144
# A connection that finds no place in the queue is tried again by its client's system after 1, 3 and 7 s.
backlog = 4096
_files, _most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
if 0 <= _files < worker_connections + 1024:
    _files = worker_connections + 1024 if _most_files < 0 else min(_most_files, worker_connections + 1024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_files, _most_files))
    worker_connections = min(worker_connections, max(_files - 512, _files // 2))
_balance = Balance(workers)

metrics_files.prepare(_settings.prometheus_multiproc_dir, worker_tmp_dir)

logging.config.dictConfig(logging_config(_settings.log_format, _settings.log_level))
logger_class = "flask_app.server.logger.GunicornLogger"


def on_starting(_server: object) -> None:
    """Before the first worker."""
    metrics_files.wipe()


def child_exit(server: Any, worker: Any) -> None:
    """In the arbiter, after a worker's end, however it came: what it counted must not be lost."""
    _balance.leave(worker)
    try:
        metrics_files.bury(server.WORKERS)
    # An error here would stop the whole service.
    except Exception:
        logging.getLogger("flask_app").exception("the metrics of worker %s could not be kept", worker.pid)


def pre_fork(server: Any, worker: Any) -> None:
    """In the arbiter, before each worker."""
    worker.balance = _balance
    _balance.give_slot(worker, server.WORKERS.values())


def post_fork(_server: object, _worker: object) -> None:
    """In each worker: answers in one write, errors in JSON, an end to slow clients; there is no setting for these."""
    metrics_files.make()
    wsgi.Response = OneWriteResponse
    util.write_error = write_problem
    gthread.TConn = TimedConnection
    parser.SocketUnreader = TimedUnreader
