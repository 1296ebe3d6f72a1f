"""`{"instances": [...]}` on `/predict`: the right answer for every row, or the names of the invalid fields."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from model_training.data.datasets import load_iris

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
ROW = dict(zip(NAMES, [5.1, 3.5, 1.4, 0.2], strict=True))


def ask(client: FlaskClient, instances: Any, **more: Any) -> Any:
    return client.post("/predict", json={"instances": instances, **more})


def bad_fields(answer: Any) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [error["field"] for error in answer.json["errors"]]


def test_many_rows_get_the_same_answers_as_each_alone(client: FlaskClient) -> None:
    rows = load_iris().X.tolist()
    named = [dict(zip(NAMES, row, strict=True)) for row in rows]
    alone = [client.post("/predict", json=row).json for row in named]
    mixed = [row if index % 2 else {"features": rows[index]} for index, row in enumerate(named)]
    for instances in (named, [dict(reversed(row.items())) for row in named], mixed):
        answer = ask(client, instances)
        assert answer.content_type == "application/json"
        body = answer.json
        # Some irises of the test set are outside the training range.
        members = body.keys() - {"warnings", "warning_count"}
        assert members == {"predictions", "class_names", "probabilities", "model_version", "request_id"}
        assert body["predictions"] == [one["prediction"] for one in alone]
        assert body["class_names"] == [one["class_name"] for one in alone]
        assert body["probabilities"] == [list(one["probabilities"].values()) for one in alone]
        assert body["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("true", "must be a number, not a boolean"),
        ('"5.1"', "must be a number, not a string"),
        ("null", "must be a number, not null"),
        ("[1]", "must be a number, not an array"),
        ("NaN", "must be a finite number"),
        ("-Infinity", "must be a finite number"),
        ("1e400", "must be a finite number"),
        ("1e39", "must be a number that fits 32-bit floating point"),
        ("1" + "0" * 398, "must be a number that fits 32-bit floating point"),
        ("9" * 5000, "must be a finite number"),
    ],
)
@pytest.mark.parametrize("others", [0, 50])
def test_a_bad_value_is_named_with_its_row(client: FlaskClient, text: str, message: str, others: int) -> None:
    bad = json.dumps({**ROW, "petal_length": "?"}).replace('"?"', text)
    body = f'{{"instances":[{",".join([json.dumps(ROW)] * others + [bad])}]}}'
    answer = client.post("/predict", data=body, content_type="application/json")
    assert bad_fields(answer) == [f"instances[{others}].petal_length"]
    assert answer.json["detail"] == f"instances[{others}].petal_length {message}."


@pytest.mark.parametrize(
    ("instances", "fields"),
    [
        ([], ["instances"]),
        ({}, ["instances"]),
        ("rows", ["instances"]),
        ([1], ["instances[0]"]),
        ([ROW, [5.1, 3.5, 1.4, 0.2]], ["instances[1]"]),
        ([{"features": [1, 2]}], ["instances[0].features"]),
        ([{**ROW, "colour": 1}], ["instances[0].colour"]),
        ([{}], [f"instances[0].{name}" for name in NAMES]),
        (
            [ROW, {"sepal_length": 1, "a": 1, "b": 2, "c": 3}],
            [f"instances[1].{x}" for x in ["a", "b", "c", *NAMES[1:]]],
        ),
    ],
)
def test_invalid_rows_are_named(client: FlaskClient, instances: Any, fields: list[str]) -> None:
    assert bad_fields(ask(client, instances)) == fields


def test_errors_are_bounded_and_come_from_the_first_rows(client: FlaskClient) -> None:
    fields = bad_fields(ask(client, [{}] * 1000))
    assert len(fields) == 20
    assert fields[:5] == [f"instances[0].{name}" for name in NAMES] + ["instances[1].sepal_length"]


def test_other_members_beside_instances_are_rejected(client: FlaskClient) -> None:
    assert bad_fields(ask(client, [ROW], features=[1, 2, 3, 4])) == ["features"]


def test_warnings_name_row_and_field_and_are_bounded(client: FlaskClient) -> None:
    body = ask(client, [ROW, {**ROW, "petal_length": 40}, ROW]).json
    assert body["warning_count"] == 1
    assert [warning["field"] for warning in body["warnings"]] == ["instances[1].petal_length"]
    body = ask(client, [{"features": [100, 100, 100, 100]}] * 50).json
    assert (body["warning_count"], len(body["warnings"])) == (200, 20)
    assert body["warnings"][4]["field"] == "instances[1].sepal_length"


def test_rows_are_limited(make_app: Callable[..., Flask], trained_store: Path) -> None:
    client = make_app(trained_store, max_rows=3).test_client()
    assert ask(client, [ROW] * 3).status_code == 200
    answer = ask(client, [ROW] * 4)
    assert answer.status_code == 413
    assert "4 rows" in answer.json["detail"] and "at most 3" in answer.json["detail"]


def test_ten_thousand_clean_rows_take_the_fast_path(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make bench` measures its speed (JSON of 10,000 rows)."""
    monkeypatch.setattr("flask_app.resources.predict.parse_json", None)
    rows = np.tile(load_iris().X, (67, 1))[:10_000]
    body = json.dumps({"instances": [dict(zip(NAMES, row, strict=True)) for row in rows.tolist()]})
    answer = client.post("/predict", data=body, content_type="application/json")
    assert len(answer.json["predictions"]) == 10_000
