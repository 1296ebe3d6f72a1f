"""`POST /explain`, and `?explain=true` at `/predict`."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from flask.testing import FlaskClient

from model_artifact.pickling import MODEL_FILE
from model_artifact.store import ArtifactStore
from model_training.data.datasets import load_iris

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
CLASSES = ["setosa", "versicolor", "virginica"]


def test_answers_add_up_to_the_margins_of_all_irises(client: FlaskClient, trained_store: Path) -> None:
    store = ArtifactStore(trained_store)
    booster = pickle.loads((store.folder(store.current()) / MODEL_FILE).read_bytes()).booster
    rows = load_iris().X
    margins = booster.predict(xgboost.DMatrix(rows, nthread=1), output_margin=True)
    for row, margin in zip(rows.tolist(), margins, strict=True):
        answer = client.post("/explain", json={"features": row}).json
        assert list(answer["contributions"]) == list(answer["base_values"]) == CLASSES
        for label, expected in zip(CLASSES, margin, strict=True):
            parts = answer["contributions"][label]
            assert list(parts) == NAMES
            assert sum(parts.values()) + answer["base_values"][label] == pytest.approx(float(expected), abs=1e-4)


def test_the_prediction_is_that_of_predict(client: FlaskClient, setosa: dict[str, float]) -> None:
    headers = {"X-Request-ID": "one"}
    explained = client.post("/explain", json=setosa, headers=headers).json
    for answer in (
        client.post("/explain", json={"features": list(setosa.values())}, headers=headers).json,
        client.post("/predict?explain=true", json=setosa, headers=headers).json,
    ):
        assert answer == explained
    plain = client.post("/predict?explain=false", json=setosa, headers=headers).json
    assert plain == {name: explained[name] for name in plain}
    assert explained.keys() - plain.keys() == {"contributions", "base_values"}


def test_a_value_outside_the_training_range_has_a_warning(client: FlaskClient, setosa: dict[str, float]) -> None:
    answer = client.post("/explain", json={**setosa, "petal_length": 1e38})
    assert answer.status_code == 200
    assert [warning["field"] for warning in answer.json["warnings"]] == ["petal_length"]
    values = [part for parts in answer.json["contributions"].values() for part in parts.values()]
    assert np.isfinite(values).all()


@pytest.mark.parametrize("query", ["explain", "explain=", "explain=1", "explain=TRUE", "explain=true&explain=true"])
def test_another_value_of_explain_is_named(client: FlaskClient, setosa: dict[str, float], query: str) -> None:
    answer = client.post(f"/predict?{query}", json=setosa)
    assert answer.status_code == 422
    assert answer.json["errors"] == [{"field": "explain", "message": "must be true or false, once"}]


@pytest.mark.parametrize(
    "request_of_many",
    [
        {"json": {"instances": [[5.1, 3.5, 1.4, 0.2]]}},
        {"data": "sepal_length,sepal_width,petal_length,petal_width\n1,2,3,4\n", "content_type": "text/csv"},
    ],
    ids=["instances", "csv"],
)
def test_many_rows_are_not_explained(client: FlaskClient, request_of_many: dict[str, Any]) -> None:
    answer = client.post("/predict?explain=true", **request_of_many)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == ["explain"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [({"features": [1, 2, 3]}, ["features"]), ({"instances": []}, ["instances", *NAMES]), ([], ["body"])],
)
def test_a_wrong_row_is_rejected_as_by_predict(client: FlaskClient, body: Any, fields: list[str]) -> None:
    answer = client.post("/explain", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == fields


def test_without_a_model_it_says_why(make_app: Any, tmp_path: Path, setosa: dict[str, float]) -> None:
    answer = make_app(tmp_path).test_client().post("/explain", json=setosa)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
