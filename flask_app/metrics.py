"""Every metric of the API, with its labels, and the few functions that count. docs/metrics.md describes them.

Under Gunicorn (PROMETHEUS_MULTIPROC_DIR is set) workers count into files, and an exposition sums those of all.
"""

import os
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
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

# What a process without Gunicorn shows; with several workers the files are read instead.
registry = CollectorRegistry()

REQUEST_DURATION = Histogram(
    "flask_api_request_duration_seconds",
    "Time to answer a request; for a streamed answer, to its last byte.",
    ("route", "method", "status"),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=registry,
)
PREDICTIONS_IN_FLIGHT = Gauge(
    "flask_api_predictions_in_flight",
    "POST requests that are being answered now.",
    multiprocess_mode="livesum",
    registry=registry,
)
ROWS_PREDICTED = Counter(
    "flask_api_rows_predicted_total",
    "Rows predicted, by the class that came out and the model that said so.",
    ("model_version", "class_name"),
    registry=registry,
)
REQUESTS_REJECTED = Counter(
    "flask_api_requests_rejected_total",
    "Requests refused because of what they hold, by the kind of fault.",
    ("reason",),
    registry=registry,
)
MODEL_INFO = Gauge(
    "flask_api_model_info",
    "1 for each model version that a worker serves now; two only while they switch.",
    ("model_name", "model_version"),
    multiprocess_mode="livemax",
    registry=registry,
)
MODEL_TRAINED_TIME = Gauge(
    "flask_api_model_trained_timestamp_seconds",
    "When each model version that a worker serves now was trained, in Unix time, as its card says.",
    ("model_version",),
    multiprocess_mode="livemax",
    registry=registry,
)
MODEL_ACCURACY = Gauge(
    "flask_api_model_held_out_accuracy",
    "Share of the held-out rows that each model version that a worker serves now got right, as its card says.",
    ("model_version",),
    multiprocess_mode="livemax",
    registry=registry,
)
MODEL_LOADS = Counter(
    "flask_api_model_loads_total",
    "Times that a worker read a model, by outcome; a refused one never replaces the one that serves.",
    ("outcome",),
    registry=registry,
)
MODEL_LAST_LOAD_REFUSED = Gauge(
    "flask_api_model_last_load_refused",
    "1 while a worker could not use what the store points to and serves on what it has; else 0.",
    multiprocess_mode="livemax",
    registry=registry,
)
MODEL_LAST_LOAD_SUCCESS_TIME = Gauge(
    "flask_api_model_last_load_success_timestamp_seconds",
    "When a worker last took up a model, in Unix time; 0 when none did yet.",
    multiprocess_mode="livemax",
    registry=registry,
)
SHADOW_ROWS = Counter(
    "flask_api_shadow_rows_total",
    "Rows of mirrored requests, by whether this challenger's class is the champion's.",
    ("agreed",),
    registry=registry,
)
REGISTRY_UP = Gauge(
    "flask_api_registry_up",
    "1 when the last look at the MLflow server gave an answer that could be used, else 0; absent if none is followed.",
    ("model_name",),
    multiprocess_mode="livemax",
    registry=registry,
)
REGISTRY_CHAMPION_REFUSED = Gauge(
    "flask_api_registry_champion_refused",
    "1 while the MLflow server's champion fails a check, and what was served before is served on; else 0.",
    ("model_name",),
    multiprocess_mode="livemax",
    registry=registry,
)
WORKERS = Gauge(
    "flask_api_workers",
    "Worker processes that run now, by the threads that each gives to one prediction.",
    ("omp_num_threads",),
    multiprocess_mode="livesum",
    registry=registry,
)

# One label value for every address that does not exist and every method that is none: both are the caller's to choose.
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

# Resolved once: a look-up by labels costs as much as all the rest.
_rejected = {status: REQUESTS_REJECTED.labels(reason) for status, reason in REASONS.items()}
_loads = {outcome: MODEL_LOADS.labels(outcome) for outcome in ("success", "refused")}
_shadow_rows = {agreed: SHADOW_ROWS.labels(str(agreed).lower()) for agreed in (True, False)}
_OF_SERVED_VERSIONS = {"flask_api_model_trained_timestamp_seconds", "flask_api_model_held_out_accuracy"}
_durations: dict[tuple[str | None, str, int], Histogram] = {}
_rows: dict[str, tuple[Counter, ...]] = {}


def init_app(app: Flask) -> None:
    """Measure every request to the application."""
    WORKERS.labels(os.environ.get("OMP_NUM_THREADS", "all")).set(1)
    # Opens the worker's file of histograms, as all others are open by now: the folder may be gone at the first request.
    _duration(("/predict", "POST", 200))
    app.wsgi_app = _Measured(app.wsgi_app)  # type: ignore[method-assign]


def model_loaded(card: ModelCard, previous: ModelCard | None) -> None:
    """A worker serves the card's model from now on, and no longer the previous one's."""
    if previous is not None and previous.model_version != card.model_version:
        MODEL_INFO.labels(previous.model_name, previous.model_version).set(0)
    MODEL_INFO.labels(card.model_name, card.model_version).set(1)
    MODEL_ACCURACY.labels(card.model_version).set(card.metrics.accuracy)
    trained = _unix_time(card.trained_at)
    if trained is not None:
        MODEL_TRAINED_TIME.labels(card.model_version).set(trained)
    # At 0 before the first row, or a rate would miss it.
    _row_counters(card)
    _loads["success"].inc()
    MODEL_LAST_LOAD_REFUSED.set(0)
    MODEL_LAST_LOAD_SUCCESS_TIME.set(time.time())


def model_refused() -> None:
    """The store's model could not be used."""
    _loads["refused"].inc()
    MODEL_LAST_LOAD_REFUSED.set(1)


def registry_up(model_name: str, up: bool) -> None:
    """Whether the MLflow server with the registered model gave an answer that could be used."""
    REGISTRY_UP.labels(model_name).set(up)


def registry_champion_refused(model_name: str, refused: bool) -> None:
    """Whether the registered model's champion failed a check."""
    REGISTRY_CHAMPION_REFUSED.labels(model_name).set(refused)


def count_rows(card: ModelCard, probabilities: NDArray[np.float32]) -> None:
    """Count rows that the card's model predicted; probabilities has shape (rows, classes)."""
    counters = _rows.get(card.model_version) or _row_counters(card)
    numbers = np.bincount(probabilities.argmax(axis=1), minlength=len(counters))
    for counter, number in zip(counters, numbers.tolist(), strict=True):
        if number:
            counter.inc(number)


def count_row(card: ModelCard, prediction: int) -> None:
    """Count one row that the card's model gave this class's index."""
    (_rows.get(card.model_version) or _row_counters(card))[prediction].inc()


def observe(route: str | None, method: str, status: int, seconds: float) -> None:
    """Count a request and the time that its answer took."""
    key = (route, method, status)
    (_durations.get(key) or _duration(key)).observe(seconds)


def count_shadow_rows(agreed: int, rows: int) -> None:
    """Count rows that challenger and champion predicted both, of which so many the same."""
    _shadow_rows[True].inc(agreed)
    _shadow_rows[False].inc(rows - agreed)


def count_rejected(status: int) -> None:
    """Count a request that is refused with this status; a status that blames no input counts nothing."""
    counter = _rejected.get(status)
    if counter is not None:
        counter.inc()


def exposition(last_training: TrainingRecord | None) -> bytes:
    """All metrics of all workers, and how the store's last training ended, in Prometheus' text format."""
    return generate_latest(_All(last_training))


class _All(Collector):
    """Without the versions that no worker serves any more: a value in a worker's file cannot be taken back."""

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
    """How and when a training ended; nothing where no training is known of: a time of 0 would look like one of 1970."""
    if record is None:
        return
    outcome = GaugeMetricFamily(
        "flask_api_last_training_outcome",
        "1 for the way in which the last training ended, 0 for the others.",
        labels=["outcome"],
    )
    for name in OUTCOMES:
        outcome.add_metric([name], float(name == record.outcome))
    yield outcome
    finished = _unix_time(record.finished_at)
    if finished is not None:
        yield GaugeMetricFamily(
            "flask_api_last_training_timestamp_seconds", "When the last training ended, in Unix time.", finished
        )


def _unix_time(moment: str) -> float | None:
    """Of a time in ISO 8601; None if it is none, or has no zone: half a day off would be worse than no time."""
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
    """Around the whole application, not in hooks of Flask: cheaper, and what fails inside is counted as well."""

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
            # Flask takes its request out again as soon as it has started the answer.
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
        # Before the answer leaves, so that whoever has it finds it counted.
        finish()
        return body


def _duration(key: tuple[str | None, str, int]) -> Histogram:
    route, method, status = key
    labels = (route or UNKNOWN, method if method in _METHODS else UNKNOWN, str(status))
    duration = REQUEST_DURATION.labels(*labels)
    if labels[1] == method:
        _durations[key] = duration
    return duration
