"""`POST /predict`: the right numbers, in both forms and any order."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from model_artifact.pickling import load_artifact
from model_artifact.store import ArtifactStore
from model_training.data.datasets import load_iris

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def test_answer_has_the_promised_members(client: FlaskClient, setosa: dict[str, float], trained_store: Path) -> None:
    answer = client.post("/predict", json=setosa)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert list(answer.json) == ["prediction", "class_name", "probabilities", "model_version", "request_id"]
    assert (answer.json["prediction"], answer.json["class_name"]) == (0, "setosa")
    assert list(answer.json["probabilities"]) == ["setosa", "versicolor", "virginica"]
    assert sum(answer.json["probabilities"].values()) == pytest.approx(1, abs=1e-6)
    assert answer.json["model_version"] == ArtifactStore(trained_store).current()
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]


def test_all_irises_in_both_forms_agree_with_the_model_in_process(client: FlaskClient, trained_store: Path) -> None:
    """To the last bit: JSON carries a double, and the model's float32 fits into it."""
    store = ArtifactStore(trained_store)
    model = load_artifact(store.folder(store.current())).model
    rows = load_iris().X
    for row, expected, index in zip(
        rows.tolist(), model.predict_proba(rows).tolist(), model.predict(rows), strict=True
    ):
        by_name = client.post("/predict", json=dict(zip(NAMES, row, strict=True))).json
        by_position = client.post("/predict", json={"features": row}).json
        for answer in (by_name, by_position):
            assert list(answer["probabilities"].values()) == expected
            assert answer["prediction"] == index


def test_order_of_named_columns_does_not_matter(client: FlaskClient, setosa: dict[str, float]) -> None:
    """XGBoost itself predicts wrong numbers for a reordered row (xgboost#8357)."""
    answers = [
        client.post("/predict", json=dict(order)).json["probabilities"]
        for order in itertools.permutations(setosa.items())
    ]
    assert all(answer == answers[0] for answer in answers)
    swapped = dict(zip(NAMES, [0.2, 1.4, 3.5, 5.1], strict=True))
    assert client.post("/predict", json=swapped).json["probabilities"] != answers[0]


@pytest.mark.parametrize("number", ["5", "5.0", "5e0", "0.5e1", "50E-1", "5.00000000000000000000000000000000"])
def test_a_number_may_be_written_in_any_way(client: FlaskClient, number: str) -> None:
    answer = client.post("/predict", data=f'{{"features":[{number},3,2,1]}}', content_type="application/json")
    assert (
        answer.json["probabilities"] == client.post("/predict", json={"features": [5, 3, 2, 1]}).json["probabilities"]
    )


@pytest.mark.parametrize("number", ["-0.0", "0", "1e-400", "-1e-400", "5e-324", "3.4028234663852886e38", "-3.4e38"])
def test_an_unlikely_but_finite_number_is_answered_with_a_warning(client: FlaskClient, number: str) -> None:
    body = f'{{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":{number}}}'
    answer = client.post("/predict", data=body, content_type="application/json")
    assert answer.status_code == 200
    assert [warning["field"] for warning in answer.json["warnings"]] == ["petal_width"]
    json.dumps(answer.json, allow_nan=False)


def test_warnings_name_each_value_outside_the_training_range(client: FlaskClient, setosa: dict[str, float]) -> None:
    feature = next(item for item in client.get("/model").json["features"] if item["name"] == "petal_length")
    low, high = feature["minimum"], feature["maximum"]
    for value, warned in [(low, False), (high, False), (low - 0.5, True), (high + 0.5, True)]:
        answer = client.post("/predict", json=setosa | {"petal_length": value})
        assert ("warnings" in answer.json) == warned, value
    message = answer.json["warnings"][0]["message"]
    assert message == f"{high + 0.5:g} lies outside the training range, {low:g} to {high:g} cm"
    answer = client.post("/predict", json={"features": [100, 100, 100, 100]})
    assert [warning["field"] for warning in answer.json["warnings"]] == NAMES


def test_a_warning_shows_a_value_that_is_really_outside(client: FlaskClient, setosa: dict[str, float]) -> None:
    high = client.get("/model").json["features"][0]["maximum"]
    message = client.post("/predict", json=setosa | {"sepal_length": high + 1e-7}).json["warnings"][0]["message"]
    assert float(message.split()[0]) > high


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("abc-DEF_1.2", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("a b", False),
        ('a"b', False),
        ("{}", False),
        ("é", False),
        ("a,b", False),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/health", "/nowhere"])
def test_request_id_is_taken_if_plain_and_made_otherwise(
    client: FlaskClient, setosa: Any, path: str, given: str, taken: bool
) -> None:
    answer = client.open(
        path, method="POST" if path == "/predict" else "GET", json=setosa, headers={"X-Request-ID": given}
    )
    returned = answer.headers.getlist("X-Request-ID")
    assert len(returned) == 1
    if taken:
        assert returned == [given]
    else:
        assert len(returned[0]) == 32 and int(returned[0], 16) >= 0
    assert answer.json.get("request_id", returned[0]) == returned[0]


def test_every_request_gets_its_own_id(client: FlaskClient, setosa: Any) -> None:
    assert len({client.post("/predict", json=setosa).json["request_id"] for _ in range(20)}) == 20


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"])
def test_json_may_be_declared_in_any_usual_way(client: FlaskClient, setosa: Any, content_type: str) -> None:
    assert client.post("/predict", data=json.dumps(setosa), content_type=content_type).status_code == 200


def test_a_body_with_a_byte_order_mark_is_read(client: FlaskClient, setosa: Any) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(setosa).encode()
    assert client.post("/predict", data=body, content_type="application/json").status_code == 200


def test_answers_are_not_to_be_cached(client: FlaskClient, setosa: Any) -> None:
    assert client.post("/predict", json=setosa).headers["Cache-Control"] == "no-store"
