"""Every metric of the API, with its labels, and the functions that count. docs/metrics.md describes them.

Under Gunicorn (PROMETHEUS_MULTIPROC_DIR is set) each worker counts into files, and an exposition sums them.
"""

import os
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from flask import Flask
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from werkzeug.wsgi import ClosingIterator

from flask_app import metrics_files
from model_artifact.card import ModelCard
from model_artifact.training_record import OUTCOMES, TrainingRecord

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# For a process without Gunicorn; under Gunicorn the files are read instead.
registry = CollectorRegistry()

_counter = partial(Counter, registry=registry)
# Of the running workers: the largest value, or the sum.
_gauge = partial(Gauge, multiprocess_mode="livemax", registry=registry)
_summed_gauge = partial(Gauge, multiprocess_mode="livesum", registry=registry)

REQUEST_DURATION = Histogram(
    "flask_api_request_duration_seconds",
    "Time to answer a request; for a streamed answer, to its last byte.",
    ("route", "method", "status"),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)
PREDICTIONS_IN_FLIGHT = _summed_gauge("flask_api_predictions_in_flight", "POST requests in progress.")
ROWS_PREDICTED = _counter(
    "flask_api_rows_predicted_total",
    "Rows predicted, by predicted class and model version.",
    ("model_version", "class_name"),
)
REQUESTS_REJECTED = _counter(
    "flask_api_requests_rejected_total",
    "Requests rejected because of their content, by the kind of error.",
    ("reason",),
)
MODEL_INFO = _gauge(
    "flask_api_model_info",
    "1 for each model version that a worker serves; two only during a switch.",
    ("model_name", "model_version"),
)
MODEL_TRAINED_TIME = _gauge(
    "flask_api_model_trained_timestamp_seconds",
    "Unix time at which each served model version was trained, from its card.",
    ("model_version",),
)
MODEL_ACCURACY = _gauge(
    "flask_api_model_held_out_accuracy",
    "Accuracy of each served model version on its held-out rows, from its card.",
    ("model_version",),
)
MODEL_LOADS = _counter(
    "flask_api_model_loads_total",
    "Times that a worker loaded a model, by outcome; a rejected model never replaces the served one.",
    ("outcome",),
)
MODEL_LAST_LOAD_REFUSED = _gauge(
    "flask_api_model_last_load_refused",
    "1 while a worker cannot use the current version of the store and serves an earlier one; else 0.",
)
MODEL_LAST_LOAD_SUCCESS_TIME = _gauge(
    "flask_api_model_last_load_success_timestamp_seconds",
    "Unix time at which a worker last loaded a model; 0 before the first.",
)
SHADOW_ROWS = _counter(
    "flask_api_shadow_rows_total",
    "Rows of mirrored requests, by whether challenger and champion predicted the same class.",
    ("agreed",),
)
REGISTRY_UP = _gauge(
    "flask_api_registry_up",
    "1 if the last poll of the MLflow server succeeded, else 0; absent if the API follows no server.",
    ("model_name",),
)
REGISTRY_CHAMPION_REFUSED = _gauge(
    "flask_api_registry_champion_refused",
    "1 while the MLflow server's champion fails a check and the model before it is still served; else 0.",
    ("model_name",),
)
WORKERS = _summed_gauge(
    "flask_api_workers", "Running worker processes, by the threads of one prediction.", ("omp_num_threads",)
)

# One label value for all unknown paths and methods: a caller could otherwise create any number of labels.
UNKNOWN = "unknown"
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

REASONS = {
    400: "invalid_body",
    401: "unauthorized",
    406: "not_acceptable",
    413: "too_large",
    415: "wrong_type",
    422: "invalid_field",
}

# Resolved once: a look-up by labels takes as long as all other steps together.
_rejected = {status: REQUESTS_REJECTED.labels(reason) for status, reason in REASONS.items()}
_loads = {outcome: MODEL_LOADS.labels(outcome) for outcome in ("success", "refused")}
_shadow_rows = {agreed: SHADOW_ROWS.labels(str(agreed).lower()) for agreed in (True, False)}
_OF_SERVED_VERSIONS = {"flask_api_model_trained_timestamp_seconds", "flask_api_model_held_out_accuracy"}
_durations: dict[tuple[str | None, str, int], Histogram] = {}
_rows: dict[str, tuple[Counter, ...]] = {}


def init_app(app: Flask) -> None:
    """Measure every request to the application."""
    WORKERS.labels(os.environ.get("OMP_NUM_THREADS", "all")).set(1)
    # Opens the file of histograms now, like the others: the folder may be gone at the first request.
    _duration(("/predict", "POST", 200))
    app.wsgi_app = _Measured(app.wsgi_app)  # type: ignore[method-assign]


def model_loaded(card: ModelCard, previous: ModelCard | None) -> None:
    """Record that this worker serves the card's model instead of the previous one."""
    if previous is not None and previous.model_version != card.model_version:
        MODEL_INFO.labels(previous.model_name, previous.model_version).set(0)
    MODEL_INFO.labels(card.model_name, card.model_version).set(1)
    MODEL_ACCURACY.labels(card.model_version).set(card.metrics.accuracy)
    trained = _unix_time(card.trained_at)
    if trained is not None:
        MODEL_TRAINED_TIME.labels(card.model_version).set(trained)
    # Counters start at 0: a rate would miss the first row.
    _row_counters(card)
    _loads["success"].inc()
    MODEL_LAST_LOAD_REFUSED.set(0)
    MODEL_LAST_LOAD_SUCCESS_TIME.set(time.time())


def model_refused() -> None:
    """Record that this worker rejected the current version of the store."""
    _loads["refused"].inc()
    MODEL_LAST_LOAD_REFUSED.set(1)


def registry_up(model_name: str, up: bool) -> None:
    """Record whether the poll of the MLflow server succeeded."""
    REGISTRY_UP.labels(model_name).set(up)


def registry_champion_refused(model_name: str, refused: bool) -> None:
    """Record whether the registered model's champion failed a check."""
    REGISTRY_CHAMPION_REFUSED.labels(model_name).set(refused)


def count_rows(card: ModelCard, probabilities: NDArray[np.float32]) -> None:
    """Count the rows of a prediction; probabilities has shape (rows, classes)."""
    counters = _rows.get(card.model_version) or _row_counters(card)
    numbers = np.bincount(probabilities.argmax(axis=1), minlength=len(counters))
    for counter, number in zip(counters, numbers.tolist(), strict=True):
        if number:
            counter.inc(number)


def count_row(card: ModelCard, prediction: int) -> None:
    """Count one row; prediction is the index of its class."""
    (_rows.get(card.model_version) or _row_counters(card))[prediction].inc()


def observe(route: str | None, method: str, status: int, seconds: float) -> None:
    """Count a request and the seconds that its answer took."""
    key = (route, method, status)
    (_durations.get(key) or _duration(key)).observe(seconds)


def count_shadow_rows(agreed: int, rows: int) -> None:
    """Count mirrored rows; agreed is how many of them got the champion's class."""
    _shadow_rows[True].inc(agreed)
    _shadow_rows[False].inc(rows - agreed)


def count_rejected(status: int) -> None:
    """Count a request that is rejected with this status, if it is one of `REASONS`."""
    counter = _rejected.get(status)
    if counter is not None:
        counter.inc()


def exposition(last_training: TrainingRecord | None) -> bytes:
    """Return the metrics of all workers and of the store's last training, in Prometheus' text format."""
    return generate_latest(_All(last_training))


class _All(Collector):
    """Omits the versions that no worker serves any more: a value in a worker's file cannot be removed."""

    def __init__(self, last_training: TrainingRecord | None) -> None:
        self._last_training = last_training

    def collect(self) -> Iterator[Metric]:
        found = {metric.name: metric for metric in [*_collected(), *training_metrics(self._last_training)]}
        info = found.get("flask_api_model_info")
        if info is not None:
            info.samples = [sample for sample in info.samples if sample.value]
            served = {sample.labels["model_version"] for sample in info.samples}
            for name in _OF_SERVED_VERSIONS & found.keys():
                metric = found[name]
                metric.samples = [sample for sample in metric.samples if sample.labels["model_version"] in served]
        return iter([found[name] for name in sorted(found)])


def training_metrics(record: TrainingRecord | None) -> Iterator[Metric]:
    """Yield how and when the last training ended; nothing without a record, since a time of 0 is one in 1970."""
    if record is None:
        return
    outcome = GaugeMetricFamily(
        "flask_api_last_training_outcome",
        "1 for the outcome of the last training, 0 for the others.",
        labels=["outcome"],
    )
    for name in OUTCOMES:
        outcome.add_metric([name], float(name == record.outcome))
    yield outcome
    finished = _unix_time(record.finished_at)
    if finished is not None:
        yield GaugeMetricFamily(
            "flask_api_last_training_timestamp_seconds", "Unix time at which the last training ended.", finished
        )


def _unix_time(moment: str) -> float | None:
    """Return the Unix time of an ISO 8601 time; None if it is invalid or has no time zone."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return parsed.timestamp() if parsed.tzinfo else None


def _collected() -> list[Metric]:
    if metrics_files.VARIABLE not in os.environ:
        return list(registry.collect())
    with metrics_files.reading() as files:
        return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]


def _row_counters(card: ModelCard) -> tuple[Counter, ...]:
    counters = tuple(ROWS_PREDICTED.labels(card.model_version, name) for name in card.classes)
    _rows[card.model_version] = counters
    return counters


class _Measured:
    """Wraps the whole application: cheaper than Flask's hooks, and failures inside Flask are counted as well."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        started = time.perf_counter()
        predicts = environ["REQUEST_METHOD"] == "POST"
        status = 0
        route = None
        streamed = False

        def start(line: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            nonlocal status, route, streamed
            status = int(line[:3])
            # Flask removes its request from the context once the answer has started.
            rule = environ["werkzeug.request"].url_rule
            route = rule.rule if rule else None
            streamed = all(name != "Content-Length" for name, _ in headers)
            return start_response(line, headers, *error)

        def finish() -> None:
            if predicts:
                PREDICTIONS_IN_FLIGHT.dec()
            if status:
                observe(route, environ["REQUEST_METHOD"], status, time.perf_counter() - started)
                count_rejected(status)

        if predicts:
            PREDICTIONS_IN_FLIGHT.inc()
        try:
            body = self._application(environ, start)
        except BaseException:
            finish()
            raise
        if streamed:
            return ClosingIterator(body, finish)
        # Before the answer is sent: a client that has its answer finds it counted.
        finish()
        return body


def _duration(key: tuple[str | None, str, int]) -> Histogram:
    route, method, status = key
    labels = (route or UNKNOWN, method if method in _METHODS else UNKNOWN, str(status))
    duration = REQUEST_DURATION.labels(*labels)
    if labels[1] == method:
        _durations[key] = duration
    return duration
