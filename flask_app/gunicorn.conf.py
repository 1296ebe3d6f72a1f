"""Gunicorn's settings: `gunicorn -c flask_app/gunicorn.conf.py flask_app.wsgi:app`."""

import logging
import logging.config
import resource
import sys
from pathlib import Path
from typing import Any

# Gunicorn reads this file before it puts the working directory on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flask_app import metrics_files
from flask_app.api_keys import KeyRing
from flask_app.server.balance import Balance
from flask_app.server.compute_slots import compute_slots
from flask_app.settings import ApiSettings
from flask_app.tables.pandas_block import block_pandas
from http_service.gunicorn import patches
from http_service.gunicorn.common_settings import *
from http_service.gunicorn.common_settings import bind_to, worker_tmp_dir
from http_service.logs import logging_config
from http_service.settings import SettingsError

block_pandas()

try:
    patches.check_version()
    _settings = ApiSettings.from_env()
    KeyRing(_settings).check()
    _settings.public_keys()
    _settings.registered_model()
except (SettingsError, patches.UntestedGunicornError) as error:
    sys.exit(f"flask-api: {error}")

bind = bind_to(_settings.bind_address, _settings.api_port)

workers = _settings.web_concurrency
worker_class = "flask_app.server.worker.ApiWorker"
threads = _settings.threads
# Each worker has one core; XGBoost and BLAS would otherwise start a thread for every core (kserve#548).
raw_env = ["OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"]

keepalive = _settings.keepalive_seconds
graceful_timeout = _settings.graceful_timeout_seconds
# Gunicorn kills a worker after so many seconds without a heartbeat.
timeout = 30

# Connections of a worker: the last third gets a 503, and further ones wait to be accepted. Each takes a file
# descriptor, and many systems limit a process to 1,024 by default.
worker_connections = 6144
# A client's system retries a connection that finds the queue full after 1, 3 and 7 s.
backlog = 4096
_files, _max_files = resource.getrlimit(resource.RLIMIT_NOFILE)
if 0 <= _files < worker_connections + 1024:
    _files = worker_connections + 1024 if _max_files < 0 else min(_max_files, worker_connections + 1024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_files, _max_files))
    worker_connections = min(worker_connections, max(_files - 512, _files // 2))
_balance = Balance(workers)

metrics_files.prepare(_settings.prometheus_multiproc_dir, worker_tmp_dir)

logging.config.dictConfig(logging_config(_settings.log_format, _settings.log_level))


def on_starting(_server: object) -> None:
    """Remove an earlier run's metrics, before the first worker."""
    metrics_files.wipe()


def pre_fork(server: Any, worker: Any) -> None:
    """Give a worker its part in the balance, in the arbiter before the fork."""
    worker.balance = _balance
    _balance.assign_slot(worker, server.WORKERS.values())


def post_fork(_server: object, _worker: object) -> None:
    """Apply the patches, in each worker."""
    metrics_files.make()
    patches.apply(compute_slots.released)


def child_exit(server: Any, worker: Any) -> None:
    """Keep a dead worker's metrics, in the arbiter."""
    _balance.close_slot(worker)
    try:
        metrics_files.merge_dead(server.WORKERS)
    # An error here would stop the whole service.
    except Exception:
        logging.getLogger("flask_app").exception("the metrics of worker %s could not be kept", worker.pid)
