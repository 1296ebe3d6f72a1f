"""Metrics: their names, labels and counts."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response

from flask_app import metrics
from model_artifact.training_record import RECORD_FILE, TrainingRecord, write_record
from tests.unit.flask_app.samples import change, of_a_client, value

NAMES = {
    "flask_api_request_duration_seconds": ("histogram", ("route", "method", "status")),
    "flask_api_predictions_in_flight": ("gauge", ()),
    "flask_api_rows_predicted_total": ("counter", ("model_version", "class_name")),
    "flask_api_requests_rejected_total": ("counter", ("reason",)),
    "flask_api_model_info": ("gauge", ("model_name", "model_version")),
    "flask_api_model_trained_timestamp_seconds": ("gauge", ("model_version",)),
    "flask_api_model_held_out_accuracy": ("gauge", ("model_version",)),
    "flask_api_last_training_timestamp_seconds": ("gauge", ()),
    "flask_api_last_training_outcome": ("gauge", ("outcome",)),
    "flask_api_model_loads_total": ("counter", ("outcome",)),
    "flask_api_model_last_load_refused": ("gauge", ()),
    "flask_api_model_last_load_success_timestamp_seconds": ("gauge", ()),
    "flask_api_registry_up": ("gauge", ("model_name",)),
    "flask_api_registry_champion_refused": ("gauge", ("model_name",)),
    "flask_api_shadow_rows_total": ("counter", ("agreed",)),
    "flask_api_workers": ("gauge", ("omp_num_threads",)),
}


def test_names_types_and_labels_are_stable() -> None:
    """Dashboards and alerts depend on them."""
    found = {}
    for collector in list(metrics.registry._collector_to_names):
        (family,) = collector.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = (family.type, collector._labelnames)
    # Read from the store; they exist once a training has ended.
    for family in metrics.training_metrics(TrainingRecord("2026-11-21T12:00:00Z", "promoted")):
        found[family.name] = (family.type, tuple(family.samples[0].labels))
    assert found == NAMES


def test_the_documentation_has_each_metric_with_its_type_and_labels(repository: Path) -> None:
    rows = re.findall(
        r"^\| `(flask_api_\w+)` \| (\w+) \|([^|]*)\|", (repository / "docs/metrics.md").read_text(), re.MULTILINE
    )
    documented = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert documented == NAMES
    assert len(rows) == len(NAMES)


def test_the_documentation_has_each_reason_with_its_status(repository: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", (repository / "docs/metrics.md").read_text(), re.MULTILINE)
    assert {int(status): reason for reason, status in rows} == metrics.REASONS


def test_buckets_reach_from_half_a_millisecond_to_half_a_minute(client: Any) -> None:
    client.get("/health")
    bounds = {dict(pairs)["le"] for name, pairs in of_a_client(client) if name.endswith("_bucket")}
    numbers = sorted(float(bound) for bound in bounds)
    assert (numbers[0], numbers[-2], numbers[-1]) == (0.0005, 30, float("inf"))


# Counts


def test_a_request_is_counted_by_route_method_and_status(client: Any, setosa: Any) -> None:
    grew = change(
        lambda: [client.post("/predict", json=setosa), client.post("/predict", json={}), client.get("/predict")],
        lambda: of_a_client(client),
    )
    name = "flask_api_request_duration_seconds_count"
    assert grew(name, route="/predict", method="POST", status="200") == 1
    assert grew(name, route="/predict", method="POST", status="422") == 1
    assert grew(name, route="unknown", method="GET", status="405") == 1
    assert 0 < grew("flask_api_request_duration_seconds_sum", route="/predict", status="200") < 10


def test_unknown_paths_and_methods_become_no_label(client: Any) -> None:
    def ask() -> None:
        for number in range(50):
            client.get(f"/no-{number}")
            client.open("/predict", method=f"BREW{number}")

    before = len(of_a_client(client))
    grew = change(ask, lambda: of_a_client(client))
    assert grew("flask_api_request_duration_seconds_count", route="unknown", method="GET", status="404") == 50
    assert grew("flask_api_request_duration_seconds_count", route="unknown", method="unknown") == 50
    assert len(of_a_client(client)) - before <= 4 * 20


def test_rows_are_counted_by_class_and_version(client: Any, setosa: Any) -> None:
    version = client.get("/model").get_json()["model_version"]
    virginica = {"features": [6.7, 3.0, 5.2, 2.3]}
    grew = change(
        lambda: [client.post("/predict", json=row) for row in (setosa, setosa, virginica, {})],
        lambda: of_a_client(client),
    )
    name = "flask_api_rows_predicted_total"
    assert grew(name, model_version=version, class_name="setosa") == 2
    assert grew(name, model_version=version, class_name="virginica") == 1
    assert grew(name) == 3


def test_many_rows_count_each(client: Any, setosa: Any) -> None:
    rows = [setosa] * 300 + [{"features": [6.7, 3.0, 5.2, 2.3]}] * 200
    grew = change(lambda: client.post("/predict", json={"instances": rows}), lambda: of_a_client(client))
    assert grew("flask_api_rows_predicted_total", class_name="setosa") == 300
    assert grew("flask_api_rows_predicted_total", class_name="virginica") == 200
    assert grew("flask_api_request_duration_seconds_count", route="/predict") == 1


@pytest.mark.parametrize(
    ("request_arguments", "reason"),
    [
        ({"data": b"{", "content_type": "application/json"}, "invalid_body"),
        ({"json": {"sepal_length": "long"}}, "invalid_field"),
        ({"data": b"x", "content_type": "image/png"}, "wrong_type"),
        ({"data": b" " * 5_000_000, "content_type": "application/json"}, "too_large"),
    ],
)
def test_rejected_input_is_counted_by_reason(client: Any, request_arguments: Any, reason: str) -> None:
    grew = change(lambda: client.post("/predict", **request_arguments), lambda: of_a_client(client))
    assert grew("flask_api_requests_rejected_total", reason=reason) == 1
    assert grew("flask_api_requests_rejected_total") == 1


def test_a_request_without_its_key_is_counted_and_its_key_is_nowhere(
    make_app: Any, trained_store: Path, setosa: Any
) -> None:
    client = make_app(trained_store, api_keys="alice:" + "0" * 64).test_client()
    grew = change(
        lambda: client.post("/predict", json=setosa, headers={"X-API-Key": "s3cret"}), lambda: of_a_client(client)
    )
    assert grew("flask_api_requests_rejected_total", reason="unauthorized") == 1
    assert grew("flask_api_rows_predicted_total") == 0
    assert "s3cret" not in client.get("/metrics").text


def test_an_unexpected_failure_is_counted_and_leaves_nothing_in_flight(make_app: Any, trained_store: Path) -> None:
    app: Flask = make_app(trained_store)

    @app.post("/fail")
    def fail() -> Response:
        raise RuntimeError("on purpose")

    client = app.test_client()
    grew = change(lambda: client.post("/fail"), lambda: of_a_client(client))
    assert grew("flask_api_request_duration_seconds_count", route="/fail", status="500") == 1
    assert grew("flask_api_predictions_in_flight") == 0


def test_a_streamed_answer_is_in_flight_until_its_last_byte(make_app: Any, trained_store: Path) -> None:
    app: Flask = make_app(trained_store)

    @app.post("/stream")
    def stream() -> Response:
        def pieces() -> Iterator[bytes]:
            yield b"first"
            time.sleep(0.2)
            yield b"last"

        return Response(pieces())

    client = app.test_client()
    # The gauge belongs to the process: other tests left answers unread.
    idle = value(of_a_client(client), "flask_api_predictions_in_flight")
    answer = client.post("/stream")
    assert value(of_a_client(client), "flask_api_predictions_in_flight") == idle + 1
    before = of_a_client(client)
    assert answer.data == b"firstlast"
    answer.close()
    after = of_a_client(client)
    assert value(after, "flask_api_predictions_in_flight") == idle
    labels = {"route": "/stream", "status": "200"}
    name = "flask_api_request_duration_seconds"
    assert value(after, f"{name}_count", **labels) - value(before, f"{name}_count", **labels) == 1
    assert value(after, f"{name}_sum", **labels) - value(before, f"{name}_sum", **labels) >= 0.2


def test_a_switch_changes_the_model_info_and_a_rejection_is_counted(
    make_app: Any, store: Any, version: str, other_version: str, eventually: Any
) -> None:
    client = make_app(store.root).test_client()

    def versions() -> set[str]:
        return {dict(pairs)["model_version"] for name, pairs in of_a_client(client) if name == "flask_api_model_info"}

    assert version in versions()
    before = of_a_client(client)
    started = time.time()
    store.activate(other_version)
    eventually(lambda: other_version in versions() and version not in versions())
    after = of_a_client(client)
    loads = "flask_api_model_loads_total"
    assert value(after, loads, outcome="success") - value(before, loads, outcome="success") == 1
    assert value(after, "flask_api_model_last_load_success_timestamp_seconds") >= started - 1
    assert value(after, "flask_api_model_last_load_refused") == 0
    (store.folder(version) / "iris_model.pkl").write_bytes(b"broken")
    (store.root / "current").write_text(version)
    eventually(lambda: value(of_a_client(client), loads, outcome="refused") - value(after, loads, outcome="refused"))
    assert value(of_a_client(client), "flask_api_model_last_load_refused") == 1
    assert other_version in versions() and version not in versions()


def test_age_and_accuracy_are_the_cards_and_end_with_the_version(
    make_app: Any, store: Any, version: str, other_version: str, eventually: Any
) -> None:
    client = make_app(store.root).test_client()

    def labelled(name: str) -> dict[str, float]:
        return {
            dict(pairs)["model_version"]: number
            for (found, pairs), number in of_a_client(client).items()
            if found == name and dict(pairs)["model_version"] in (version, other_version)
        }

    accuracy, trained = "flask_api_model_held_out_accuracy", "flask_api_model_trained_timestamp_seconds"
    assert version in labelled(accuracy)
    store.activate(other_version)
    eventually(lambda: version not in labelled(accuracy))
    card = client.get("/model").get_json()
    assert labelled(accuracy) == {other_version: card["metrics"]["accuracy"]}
    assert labelled(trained) == {other_version: datetime.fromisoformat(card["trained_at"]).timestamp()}


def test_the_last_training_is_exported_once_it_ends(make_app: Any, store: Any, eventually: Any) -> None:
    (store.root / RECORD_FILE).unlink(missing_ok=True)
    client = make_app(store.root).test_client()
    time_name, outcome_name = "flask_api_last_training_timestamp_seconds", "flask_api_last_training_outcome"
    assert not [name for name, _ in of_a_client(client) if name in (time_name, outcome_name)]
    for outcome, seconds in (("promoted", 1_795_262_400), ("rejected", 1_795_262_460), ("failed", 1_795_262_520)):
        finished_at = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        write_record(store.root, TrainingRecord(finished_at, outcome))
        eventually(lambda seconds=seconds: value(of_a_client(client), time_name) == seconds)
        samples = of_a_client(client)
        assert {name: value(samples, outcome_name, outcome=name) for name in ("promoted", "rejected", "failed")} == {
            name: float(name == outcome) for name in ("promoted", "rejected", "failed")
        }


@pytest.mark.parametrize("finished_at", ["yesterday", "2026-11-21T12:00:00", ""])
def test_a_record_without_a_time_breaks_no_scrape(make_app: Any, store: Any, eventually: Any, finished_at: str) -> None:
    write_record(store.root, TrainingRecord(finished_at, "failed"))
    client = make_app(store.root).test_client()
    assert value(of_a_client(client), "flask_api_last_training_outcome", outcome="failed") == 1
    assert not [name for name, _ in of_a_client(client) if name == "flask_api_last_training_timestamp_seconds"]
    (store.root / RECORD_FILE).write_text('{"finished_at": 1, "outcome": "lost"}')
    eventually(lambda: not value(of_a_client(client), "flask_api_last_training_outcome"))
    assert client.get("/ready").status_code == 200


def test_several_applications_in_one_process_share_the_metrics(make_app: Any, trained_store: Path) -> None:
    first, second = (make_app(trained_store).test_client() for _ in range(2))
    grew = change(lambda: [first.get("/health"), second.get("/health")], lambda: of_a_client(first))
    assert grew("flask_api_request_duration_seconds_count", route="/health") == 2
