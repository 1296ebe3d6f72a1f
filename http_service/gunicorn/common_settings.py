"""The settings of Gunicorn that both services have; each `gunicorn.conf.py` imports all of them."""

import os

# XGBoost's libgomp does not survive a fork: a prediction in a forked child would hang for ever (xgboost#7044).
preload_app = False
# A recycled worker drops the requests in its queue (gunicorn#3038).
max_requests = 0
reuse_port = False
# Gunicorn opens this socket below the home folder, which a read-only container does not have.
control_socket_disable = True
# The heartbeat is a file's time stamp, and a busy disk stalls it (gunicorn#1863).
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
logger_class = "http_service.gunicorn.logger.ServiceLogger"


def bind_to(address: str, port: int) -> str:
    """Return Gunicorn's setting `bind` for an IPv4 or IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
