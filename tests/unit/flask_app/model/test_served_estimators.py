"""The API with a model of each estimator: every form of a request gives the same answer."""

import contextlib
import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask

from model_artifact.store import ArtifactStore
from model_training.data.datasets import load_iris
from tests.unit.flask_app.server.test_fast_path import ROWS, exchange, request

ESTIMATORS = ["random-forest", "logistic-regression"]
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@pytest.fixture(params=ESTIMATORS)
def app(request: pytest.FixtureRequest, make_app: Callable[..., Flask], store_of: Callable[[str], Path]) -> Flask:
    return make_app(store_of(request.param))


@pytest.fixture
def model(app: Flask) -> Any:
    return app.extensions["model_holder"].served.artifact.model


def test_every_form_of_a_request_gives_the_models_own_bits(app: Flask, model: Any) -> None:
    client = app.test_client()
    rows = load_iris().X[::10]
    expected = model.predict_proba(rows).tolist()
    labels = [max(range(3), key=row.__getitem__) for row in expected]
    for row, probabilities, label in zip(rows.tolist(), expected, labels, strict=True):
        answer = client.post("/predict", json={"features": row}).json
        assert (list(answer["probabilities"].values()), answer["prediction"]) == (probabilities, label)
    answer = client.post("/predict", json={"instances": [{"features": row} for row in rows.tolist()]}).json
    assert (answer["probabilities"], answer["predictions"]) == (expected, labels)
    lines = "\n".join(",".join(map(str, row)) for row in [NAMES, *rows.tolist()])
    with client.post("/predict", data=lines, content_type="text/csv") as answer:
        table = list(csv.DictReader(io.StringIO(answer.text)))
    given = [[float(value) for name, value in row.items() if name.startswith("probability_")] for row in table]
    assert np.array_equal(np.array(given, dtype=np.float32), np.array(expected, dtype=np.float32))
    tensor = {"name": "x", "shape": [len(rows), 4], "datatype": "FP64", "data": rows.tolist()}
    outputs = [{"name": "predict_proba"}]
    answer = client.post("/v2/models/iris/infer", json={"inputs": [tensor], "outputs": outputs}).json
    assert np.array_equal(np.array(answer["outputs"][0]["data"], dtype=np.float32), np.ravel(expected).astype("f4"))


def test_contributions_add_up_to_the_probabilities(app: Flask) -> None:
    client = app.test_client()
    for row in ([5.1, 3.5, 1.4, 0.2], [6.0, 2.7, 5.1, 1.6], [3.4e38, -3.4e38, 0, 1e-40]):
        answer = client.post("/explain", json={"features": row})
        assert answer.status_code == 200
        body = answer.json
        margins = np.array(
            [sum(body["contributions"][name].values()) + body["base_values"][name] for name in body["probabilities"]]
        )
        powers = np.exp(margins - margins.max())
        assert np.abs(powers / powers.sum() - list(body["probabilities"].values())).max() < 1e-5
        assert [list(parts) for parts in body["contributions"].values()] == [NAMES] * 3


def test_the_protocol_names_the_predictor(app: Flask, model: Any) -> None:
    platform = app.test_client().get("/v2/models/iris").json["platform"]
    assert platform == {"random-forest": "xgboost_pickle", "logistic-regression": "linear_pickle"}[model.estimator]


def test_the_card_and_the_log_name_the_estimator(app: Flask, model: Any) -> None:
    card = app.test_client().get("/model").json
    assert (card["estimator"], card["predictor"]) == (model.estimator, model.predictor)


def test_both_paths_give_a_linear_model_the_same_bytes(
    make_app: Callable[..., Flask], store_of: Callable[[str], Path]
) -> None:
    app = make_app(store_of("logistic-regression"))
    fast_path, client = app.extensions["fast_path"], app.test_client()
    taken = 0
    iris = [json.dumps({"features": row}).encode() for row in load_iris().X.tolist()]
    for body in [*ROWS.values(), *iris]:
        fast = fast_path.answer(request(body), "127.0.0.1")
        assert fast, body
        slow = client.post("/predict", data=body, content_type="application/json", headers={"X-Request-ID": "same"})
        assert fast.partition(b"\r\n\r\n")[2] == slow.data
        taken += slow.status_code == 200
    assert taken == len(ROWS) + 150


@pytest.fixture(scope="module")
def both(start_server: Any, store_of: Callable[[str], Path]) -> Iterator[list[Any]]:
    with contextlib.ExitStack() as stack:
        store = store_of("logistic-regression")
        yield [stack.enter_context(start_server(store, web_concurrency=1, fast_lane=value)) for value in ("on", "off")]


def test_both_paths_send_the_same_bytes_through_gunicorn(both: list[Any]) -> None:
    for name in ("by name", "outside of training", "far outside", "many digits"):
        fast, slow = (exchange(server, request(ROWS[name])) for server in both)
        assert fast == slow
        assert fast.startswith(b"HTTP/1.1 200 OK"), fast


def test_a_switch_to_another_estimator_is_followed(
    make_app: Callable[..., Flask], store_of: Callable[[str], Path], store: ArtifactStore, eventually: Any
) -> None:
    for estimator in ESTIMATORS:
        shutil.copytree(store_of(estimator) / "versions" / estimator, store.folder(estimator))
    client = make_app(store.root).test_client()
    assert client.get("/model").json["estimator"] == "xgboost"
    for estimator in ESTIMATORS:
        store.activate(estimator)
        eventually(lambda estimator=estimator: client.get("/model").json["estimator"] == estimator)
        answer = client.post("/predict", json={"features": [5.1, 3.5, 1.4, 0.2]}).json
        assert (answer["model_version"], answer["class_name"]) == (estimator, "setosa")


def test_a_linear_model_needs_neither_xgboosts_library_nor_training_packages(
    repository: Path, store_of: Callable[[str], Path]
) -> None:
    """The library is 60 MB in each worker's memory; scikit-learn is not in the API's image at all."""
    code = f"""
import sys
for name in ("sklearn", "scipy", "pandas", "xgboost", "threadpoolctl", "optuna"):
    sys.modules[name] = None
from flask_app.application import create_app
from flask_app.settings import ApiSettings
client = create_app(ApiSettings(model_store={str(store_of("logistic-regression"))!r})).test_client()
row = {{"features": [5.1, 3.5, 1.4, 0.2]}}
print(client.post("/predict", json=row).status_code, client.post("/explain", json=row).status_code)
print("libxgboost" in open("/proc/self/maps").read())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=repository, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "200 200\nFalse\n"), done.stderr
