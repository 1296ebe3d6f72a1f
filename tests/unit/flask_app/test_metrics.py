"""Metrics: what is counted, and that several workers and their deaths do not change the sums."""

import contextlib
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from prometheus_client.parser import text_string_to_metric_families

from flask_app import metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

NAMES = {
    "flask_api_request_duration_seconds": ("histogram", ("route", "method", "status")),
    "flask_api_predictions_in_flight": ("gauge", ()),
    "flask_api_rows_predicted_total": ("counter", ("model_version", "class_name")),
    "flask_api_requests_rejected_total": ("counter", ("reason",)),
    "flask_api_model_info": ("gauge", ("model_name", "model_version")),
    "flask_api_model_loads_total": ("counter", ("outcome",)),
    "flask_api_model_last_load_refused": ("gauge", ()),
    "flask_api_model_last_load_success_timestamp_seconds": ("gauge", ()),
    "flask_api_workers": ("gauge", ("omp_num_threads",)),
}


def parse(text: str) -> Samples:
    """Every sample; what Prometheus would refuse fails the test."""
    found: Samples = {}
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families), "a family stands twice"
    for family in families:
        assert family.documentation and family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, "a sample stands twice"
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples of that name that have these labels."""
    return sum(
        number for (found, pairs), number in samples.items() if found == name and labels.items() <= dict(pairs).items()
    )


def of_a_client(client: Any) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.text)


def of_a_server(server: Any) -> Samples:
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
    return parse(text)


def change(ask: Callable[[], Any], scrape: Callable[[], Samples]) -> Callable[..., float]:
    """How much a value grew by what ask did."""
    before = scrape()
    ask()
    after = scrape()
    return lambda name, **labels: value(after, name, **labels) - value(before, name, **labels)


# Names


def test_names_types_and_labels_are_these() -> None:
    """Dashboards and alerts hang on them."""
    found = {}
    for collector in list(metrics.registry._collector_to_names):
        (family,) = collector.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        found[name] = (family.type, collector._labelnames)
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


# What is counted


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


def test_what_a_caller_invents_becomes_no_label(client: Any) -> None:
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


def test_an_unforeseen_failure_is_counted_and_leaves_nothing_in_flight(make_app: Any, trained_store: Path) -> None:
    app: Flask = make_app(trained_store)

    @app.post("/fail")
    def fail() -> Response:
        raise RuntimeError("on purpose")

    client = app.test_client()
    grew = change(lambda: client.post("/fail"), lambda: of_a_client(client))
    assert grew("flask_api_request_duration_seconds_count", route="/fail", status="500") == 1
    assert value(of_a_client(client), "flask_api_predictions_in_flight") == 0


def test_a_streamed_answer_is_under_way_until_its_last_byte(make_app: Any, trained_store: Path) -> None:
    app: Flask = make_app(trained_store)

    @app.post("/stream")
    def stream() -> Response:
        def pieces() -> Iterator[bytes]:
            yield b"first"
            time.sleep(0.2)
            yield b"last"

        return Response(pieces())

    client = app.test_client()
    answer = client.post("/stream")
    assert value(of_a_client(client), "flask_api_predictions_in_flight") == 1
    before = of_a_client(client)
    assert answer.data == b"firstlast"
    answer.close()
    after = of_a_client(client)
    assert value(after, "flask_api_predictions_in_flight") == 0
    labels = {"route": "/stream", "status": "200"}
    name = "flask_api_request_duration_seconds"
    assert value(after, f"{name}_count", **labels) - value(before, f"{name}_count", **labels) == 1
    assert value(after, f"{name}_sum", **labels) - value(before, f"{name}_sum", **labels) >= 0.2


def test_a_switch_changes_the_model_info_and_a_refusal_is_counted(
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


def test_several_applications_in_one_process_share_the_metrics(make_app: Any, trained_store: Path) -> None:
    first, second = (make_app(trained_store).test_client() for _ in range(2))
    grew = change(lambda: [first.get("/health"), second.get("/health")], lambda: of_a_client(first))
    assert grew("flask_api_request_duration_seconds_count", route="/health") == 2


# Several workers


@pytest.fixture
def metered(start_server: Any, trained_store: Path, tmp_path: Path) -> Iterator[Any]:
    """A Gunicorn of two workers whose metrics lie in tmp_path / "metrics"."""
    with start_server(trained_store, prometheus_multiproc_dir=tmp_path / "metrics") as server:
        yield server


def predict(server: Any, setosa: Any, count: int) -> None:
    for _ in range(count):
        assert server.ask("POST", "/predict", setosa)[0] == 200


def predictions(samples: Samples) -> float:
    rows = value(samples, "flask_api_rows_predicted_total")
    name = "flask_api_request_duration_seconds_count"
    assert rows == value(samples, name, route="/predict", status="200")
    return rows


def replaced(server: Any, killed: int) -> bool:
    return len(server.workers()) == 2 and killed not in server.workers()


def test_five_more_are_five_more_and_a_killed_worker_takes_none_along(
    metered: Any, setosa: Any, eventually: Any
) -> None:
    predict(metered, setosa, 20)
    before = of_a_server(metered)
    predict(metered, setosa, 5)
    after = of_a_server(metered)
    assert predictions(after) - predictions(before) == 5
    for killed in metered.workers():
        os.kill(killed, signal.SIGKILL)
        eventually(lambda killed=killed: replaced(metered, killed))
        eventually(metered.answers)
        predict(metered, setosa, 5)
    end = of_a_server(metered)
    assert predictions(end) - predictions(after) == 10
    for (name, labels), number in after.items():
        if name.endswith(("_total", "_count", "_sum", "_bucket")):
            assert end[name, labels] >= number, (name, labels)
    eventually(lambda: value(of_a_server(metered), "flask_api_workers", omp_num_threads="1") == 2)


def test_thirty_deaths_leave_a_bounded_number_of_files_and_every_count(
    metered: Any, setosa: Any, eventually: Any, tmp_path: Path
) -> None:
    sent = 0
    for _ in range(30):
        predict(metered, setosa, 3)
        sent += 3
        killed = metered.workers()[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda killed=killed: replaced(metered, killed))
        eventually(metered.answers)
    eventually(lambda: value(of_a_server(metered), "flask_api_workers") == 2)
    assert predictions(of_a_server(metered)) == sent
    names = [path.name for path in (tmp_path / "metrics").iterdir()]
    assert len(names) <= 2 * 4 + 2 + 1, names
    alive = {str(pid) for pid in metered.workers()}
    assert {match[1] for name in names if (match := re.search(r"_(\d+)\.db", name))} <= alive


def test_scrapes_while_workers_die_never_go_back(metered: Any, setosa: Any, eventually: Any) -> None:
    """A sum that drops looks like a restart to Prometheus, which then counts everything anew."""
    stop = threading.Event()
    seen: list[float] = []
    faults: list[BaseException] = []

    def scrape() -> None:
        while not stop.is_set():
            # The worker that was asked may be the one that died.
            with contextlib.suppress(OSError, http.client.HTTPException):
                try:
                    seen.append(value(of_a_server(metered), "flask_api_rows_predicted_total"))
                except AssertionError as error:
                    faults.append(error)

    scraper = threading.Thread(target=scrape)
    predict(metered, setosa, 10)
    scraper.start()
    for _ in range(8):
        killed = metered.workers()[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda killed=killed: replaced(metered, killed))
        eventually(metered.answers)
    stop.set()
    scraper.join(30)
    assert faults == []
    assert len(seen) >= 5
    assert set(seen) == {10}


def half_a_request(server: Any, setosa: Any) -> socket.socket:
    body = json.dumps(setosa).encode()
    connection: socket.socket = server.raw()
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body[:-5])
    return connection


def test_predictions_in_flight_return_to_none(metered: Any, setosa: Any, eventually: Any) -> None:
    def in_flight() -> float:
        return value(of_a_server(metered), "flask_api_predictions_in_flight")

    with half_a_request(metered, setosa) as connection:
        eventually(lambda: in_flight() == 1)
        connection.sendall(json.dumps(setosa).encode()[-5:])
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
    assert in_flight() == 0
    with half_a_request(metered, setosa) as connection:
        eventually(lambda: in_flight() == 1)
    eventually(lambda: in_flight() == 0)
    with half_a_request(metered, setosa):
        eventually(lambda: in_flight() == 1)
        before = metered.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(metered.workers()) == 2 and not set(metered.workers()) & set(before))
        eventually(metered.answers)
        assert in_flight() == 0


def test_workers_that_switch_show_the_new_version_alone(
    start_server: Any, store: Any, version: str, other_version: str, setosa: Any, eventually: Any
) -> None:
    def versions() -> dict[str, float]:
        return {
            dict(pairs)["model_version"]: number
            for (name, pairs), number in of_a_server(server).items()
            if name == "flask_api_model_info"
        }

    with start_server(store.root) as server:
        assert versions() == {version: 1}
        predict(server, setosa, 3)
        store.activate(other_version)
        eventually(lambda: versions() == {other_version: 1})
        predict(server, setosa, 2)
        # The one that comes back has never known the old version, and the others have forgotten it.
        os.kill(server.workers()[0], signal.SIGKILL)
        eventually(lambda: value(of_a_server(server), "flask_api_workers") == 2)
        assert versions() == {other_version: 1}
        rows = "flask_api_rows_predicted_total"
        samples = of_a_server(server)
        assert value(samples, rows, model_version=version) == 3
        assert value(samples, rows, model_version=other_version) == 2


def test_what_an_earlier_run_left_is_not_counted_and_other_files_stay(
    start_server: Any, trained_store: Path, tmp_path: Path, setosa: Any
) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "of-somebody-else.db").write_text("mine")
    for _ in range(2):
        with start_server(trained_store, prometheus_multiproc_dir=folder) as server:
            predict(server, setosa, 4)
            assert predictions(of_a_server(server)) == 4
    assert (folder / "of-somebody-else.db").read_text() == "mine"


def test_a_scraper_that_hangs_does_not_keep_the_arbiter_from_its_workers(
    metered: Any, setosa: Any, eventually: Any, tmp_path: Path
) -> None:
    predict(metered, setosa, 6)
    with (tmp_path / "metrics" / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        killed = metered.workers()[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: replaced(metered, killed))
        eventually(metered.answers)
        assert predictions(of_a_server(metered)) == 6
    killed_next = metered.workers()[0]
    os.kill(killed_next, signal.SIGKILL)
    eventually(lambda: replaced(metered, killed_next))
    eventually(metered.answers)
    assert predictions(of_a_server(metered)) == 6
    assert not list((tmp_path / "metrics").glob(f"*_{killed}.db"))


def test_a_file_that_was_never_finished_hurts_no_scrape(
    metered: Any, setosa: Any, eventually: Any, tmp_path: Path
) -> None:
    """A worker killed between making a file and writing to it."""
    predict(metered, setosa, 2)
    (tmp_path / "metrics" / "counter_999999.db").touch()
    assert predictions(of_a_server(metered)) == 2
    killed = metered.workers()[0]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: replaced(metered, killed))
    eventually(metered.answers)
    assert predictions(of_a_server(metered)) == 2
    assert not (tmp_path / "metrics" / "counter_999999.db").exists()


def test_the_folder_may_vanish_while_it_runs(metered: Any, setosa: Any, eventually: Any, tmp_path: Path) -> None:
    """systemd empties /dev/shm of a user who logs out. Counts are lost then; the service goes on."""
    predict(metered, setosa, 2)
    shutil.rmtree(tmp_path / "metrics")
    predict(metered, setosa, 2)
    of_a_server(metered)
    killed = metered.workers()[0]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: replaced(metered, killed))
    eventually(metered.answers)
    of_a_server(metered)
    assert metered.process.poll() is None


OWN_FOLDER = """
import os, signal, sys, tempfile
from flask_app import metrics_files
metrics_files.prepare("", sys.argv[1])
print(os.environ["PROMETHEUS_MULTIPROC_DIR"], flush=True)
if os.fork() == 0:
    sys.exit()
os.wait()
assert os.path.isdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]), "a worker's end removed it"
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "stays":
    sys.stdin.read()
"""


def test_its_own_folder_is_private_and_goes_with_it(repository: Path, tmp_path: Path) -> None:
    def run(end: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", OWN_FOLDER, str(tmp_path), end],
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    with run("stays") as staying:
        assert staying.stdout is not None
        kept = Path(staying.stdout.readline().strip())
        assert kept.parent == tmp_path
        assert kept.stat().st_mode & 0o777 == 0o700
        with run("killed") as process:
            left = Path(process.communicate()[0].strip())
        assert left.is_dir()
        # The next one removes what was left, but not what is in use.
        with run("ends") as process:
            own = Path(process.communicate()[0].strip())
            assert process.returncode == 0
        assert (kept.is_dir(), left.exists(), own.exists()) == (True, False, False)
        staying.communicate("")
    assert list(tmp_path.iterdir()) == []
