"""`infer` of the Open Inference Protocol with JSON alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from flask_app.inference_protocol.tensors import DATATYPES
from model_artifact.pickling import load_artifact
from model_artifact.store import ArtifactStore

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]
FLAT = [value for row in ROWS for value in row]
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
BOTH = [{"name": "predict"}, {"name": "predict_proba"}]
PATH = "/v2/models/iris/infer"


@pytest.fixture(scope="module")
def model(trained_store: Path) -> Any:
    store = ArtifactStore(trained_store)
    return load_artifact(store.folder(store.current()), store.current()).model


def _request(**changes: Any) -> dict[str, Any]:
    """Return a valid request with one tensor, and these changes to the tensor."""
    return {"inputs": [{"name": "input-0", "shape": [3, 4], "datatype": "FP32", "data": ROWS, **changes}]}


def _columns(**changes: Any) -> dict[str, Any]:
    """Return a valid request with one tensor per feature, and these changes to the last."""
    inputs = [
        {"name": name, "shape": [3], "datatype": "FP64", "data": [row[index] for row in ROWS]}
        for index, name in enumerate(NAMES)
    ]
    inputs[-1].update(changes)
    return {"inputs": inputs}


def _rejected(client: FlaskClient, body: Any, status: int = 422) -> str:
    """Return the sentence of a rejection."""
    answer = client.post(PATH, json=body)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), answer.text
    assert answer.json["error"] == answer.json["detail"]
    assert answer.json["error"].endswith(".")
    assert len(answer.data) < 8000, "the answer repeats the body"
    return str(answer.json["error"])


def test_both_outputs_are_those_of_the_model(client: FlaskClient, model: Any, trained_store: Path) -> None:
    answer = client.post(PATH, json={**_request(), "id": "42", "outputs": BOTH})
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert {name: answer.json[name] for name in ("model_name", "model_version", "id")} == {
        "model_name": "iris",
        "model_version": ArtifactStore(trained_store).current(),
        "id": "42",
    }
    predict, proba = answer.json["outputs"]
    assert predict == {
        "name": "predict",
        "shape": [3, 1],
        "datatype": "INT64",
        "parameters": {"content_type": "np"},
        "data": [0, 2, 1],
    }
    assert (proba["name"], proba["shape"], proba["datatype"]) == ("predict_proba", [3, 3], "FP32")
    assert np.array_equal(np.array(proba["data"], np.float32).reshape(3, 3), model.predict_proba(ROWS))


@pytest.mark.parametrize("outputs", [None, []])
def test_without_named_outputs_the_classes_are_returned(client: FlaskClient, outputs: Any) -> None:
    answer = client.post(PATH, json={**_request(), "outputs": outputs})
    assert [output["name"] for output in answer.json["outputs"]] == ["predict"]


def test_outputs_come_in_the_order_asked_for(client: FlaskClient) -> None:
    answer = client.post(PATH, json={**_request(), "outputs": BOTH[::-1]})
    assert [output["name"] for output in answer.json["outputs"]] == ["predict_proba", "predict"]


def test_the_versions_own_path_gives_the_same_answer(client: FlaskClient, trained_store: Path) -> None:
    path = f"/v2/models/iris/versions/{ArtifactStore(trained_store).current()}/infer"
    assert client.post(path, json=_request()).data == client.post(PATH, json=_request()).data


@pytest.mark.parametrize(
    "body",
    [
        _request(data=FLAT),
        _request(data=[ROWS]),
        _request(data=[[row] for row in ROWS]),
        _request(name="anything"),
        _request(name="petal_width"),
        _request(datatype="FP64"),
        _request(parameters={"content_type": "np", "anything": [1, {}]}),
        {**_request(), "parameters": {"content_type": "pd", "priority": 1}, "model_name": "iris"},
        {**_request(parameters=None), "id": None, "parameters": None, "outputs": None},
        _columns(),
        _columns(shape=[3, 1]),
        _columns(shape=[3, 1], data=[[0.2], [2.3], [1.5]]),
        {"inputs": _columns()["inputs"][::-1]},
    ],
)
def test_a_tensor_may_have_many_forms(client: FlaskClient, body: Any) -> None:
    answer = client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json["outputs"][0]["data"] == [0, 2, 1]


def test_columns_are_matched_by_name(client: FlaskClient) -> None:
    body = _columns()
    outputs = {"outputs": [{"name": "predict_proba"}]}
    backwards = {"inputs": body["inputs"][::-1]}
    assert client.post(PATH, json=body | outputs).data == client.post(PATH, json=backwards | outputs).data


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if "INT" in name])
def test_integers_are_accepted(client: FlaskClient, model: Any, datatype: str) -> None:
    whole = [[5, 3, 1, 0], [6, 3, 5, 2]]
    answer = client.post(PATH, json=_request(datatype=datatype, shape=[2, 4], data=whole))
    assert answer.json["outputs"][0]["data"] == model.predict(whole).tolist()


def test_fp16_is_rounded_as_it_is_in_bytes(client: FlaskClient, model: Any) -> None:
    answer = client.post(PATH, json={**_request(datatype="FP16"), "outputs": [{"name": "predict_proba"}]})
    expected = model.predict_proba(np.array(ROWS, np.float16))
    assert answer.json["outputs"][0]["data"] == expected.ravel().tolist()


@pytest.mark.parametrize("given", ["", "with spaces", 'quo"te', "ünï", "\n", "x" * 10_000])
def test_the_id_is_returned(client: FlaskClient, given: str) -> None:
    answer = client.post(PATH, json={**_request(), "id": given}, headers={"X-Request-ID": "other"})
    assert answer.json["id"] == given
    assert answer.headers["X-Request-ID"] == "other"


def test_without_an_id_none_is_returned(client: FlaskClient) -> None:
    assert "id" not in client.post(PATH, json=_request()).json


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "application/octet-stream", "application/vnd.api+json"]
)
def test_content_types_of_real_clients_are_accepted(client: FlaskClient, content_type: str | None) -> None:
    assert client.post(PATH, data=json.dumps(_request()), content_type=content_type).status_code == 200


def test_other_types_and_packed_bodies_are_415(client: FlaskClient) -> None:
    body = json.dumps(_request())
    for headers in ({"Content-Type": "text/csv"}, {"Content-Encoding": "gzip"}):
        answer = client.post(PATH, data=body, headers=headers)
        assert (answer.status_code, answer.content_type) == (415, "application/problem+json")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (True, "must be a number, not a boolean"),
        ("0.2", "must be a number, not a string"),
        (None, "must be a number, not null"),
        ({}, "must be a number, not an object"),
        (float("nan"), "must be a finite number"),
        (float("-inf"), "must be a finite number"),
        (1e39, "must be a number that fits 32-bit floating point"),
        (-(10**390), "must be a number that fits 32-bit floating point"),
    ],
)
@pytest.mark.parametrize("form", ["matrix", "columns"])
def test_a_bad_value_is_named_by_row_and_feature(client: FlaskClient, value: Any, message: str, form: str) -> None:
    body = _request(data=[*FLAT[:-1], value]) if form == "matrix" else _columns(data=[0.2, 2.3, value])
    assert _rejected(client, body) == f"row 2, petal_width {message}."


@pytest.mark.parametrize(
    ("datatype", "value", "message"),
    [
        ("INT8", 128, "must be a whole number that INT8 holds"),
        ("INT8", 1.5, "must be a whole number that INT8 holds"),
        ("INT64", 2**64, "must be a whole number that INT64 holds"),
        ("INT64", float("nan"), "must be a whole number that INT64 holds"),
        ("UINT8", -1, "must be a whole number that UINT8 holds"),
        ("UINT64", 10**390, "must be a whole number that UINT64 holds"),
        ("FP16", 70_000, "must be a number that FP16 holds"),
        ("FP16", float("nan"), "must be a finite number"),
    ],
)
def test_a_value_must_be_of_its_datatype(client: FlaskClient, datatype: str, value: Any, message: str) -> None:
    body = _request(datatype=datatype, shape=[1, 4], data=[1, 1, value, 1])
    assert _rejected(client, body) == f"row 0, petal_length {message}."


def test_a_hundred_thousand_bad_values_get_a_short_answer(client: FlaskClient) -> None:
    for value in (True, 1e39):
        sentence = _rejected(client, _request(shape=[25_000, 4], data=[value] * 100_000))
        assert sentence.count("row ") == 20


@pytest.mark.parametrize(
    ("shape", "status", "sentence"),
    [
        ([2**62, 4], 413, "more rows than the 100000"),
        ([10**300, 4], 413, "more rows than the 100000"),
        ([100_001, 4], 413, "more rows than the 100000"),
        ([-1, 4], 422, "inputs[0].shape must have at least 1 row."),
        ([0, 4], 422, "inputs[0].shape must have at least 1 row."),
        ([3, -4], 422, "inputs[0].shape must be [rows, 4], with the columns sepal_length, "),
        ([3, 2**62], 422, "inputs[0].shape must be [rows, 4]"),
        ([4, 3], 422, "inputs[0].shape must be [rows, 4]"),
        ([12], 422, "inputs[0].shape must be [rows, 4]"),
        ([3, 4, 1], 422, "inputs[0].shape must be [rows, 4]"),
        ([1] * 10_000, 422, "inputs[0].shape must be [rows, 4]"),
        ([], 422, "inputs[0].shape must be [rows, 4]"),
        ([3.5, 4], 422, "inputs[0].shape[0] cannot be used"),
        ([True, 4], 422, "inputs[0].shape[0] cannot be used"),
        (["3", 4], 422, "inputs[0].shape[0] cannot be used"),
        (3, 422, "inputs[0].shape cannot be used"),
        (None, 422, "inputs[0].shape cannot be used"),
    ],
)
def test_a_shape_that_does_not_fit_is_rejected(client: FlaskClient, shape: Any, status: int, sentence: str) -> None:
    assert sentence in _rejected(client, _request(shape=shape), status)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (FLAT[:-1], "inputs[0].data must hold the 12 values of its shape, not 11."),
        ([*FLAT, 1], "inputs[0].data must hold the 12 values of its shape, not 13."),
        ([], "must hold the 12 values of its shape, not 0."),
        ([[], [], []], "must hold the 12 values of its shape, not 0."),
        ([ROWS[0], ROWS[1], ROWS[2][:3]], "inputs[0].data holds rows of different lengths."),
        ([ROWS[0], ROWS[1], 1, 2, 3, 4], "inputs[0].data holds rows of different lengths."),
        ([FLAT[:3], FLAT[3:6], FLAT[6:9], FLAT[9:]], "must be flat, or nested in its shape [3, 4]."),
        ([FLAT[:6], FLAT[6:]], "must be flat, or nested in its shape [3, 4]."),
        (None, "inputs[0] has neither data nor parameters.binary_data_size."),
        ("5.1", "inputs[0].data cannot be used"),
        ({}, "inputs[0].data cannot be used"),
    ],
)
def test_data_that_does_not_fit_the_shape_is_rejected(client: FlaskClient, data: Any, sentence: str) -> None:
    assert sentence in _rejected(client, _request(data=data))


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES", "BF16", "fp32", "FP32 ", "", "x" * 5000])
def test_other_datatypes_are_rejected(client: FlaskClient, datatype: str) -> None:
    assert _rejected(client, _request(datatype=datatype)).startswith("inputs[0].datatype must be one of FP16, FP32, ")


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (_columns()["inputs"][1:], "sepal_length is missing."),
        (_columns()["inputs"][:1], "sepal_width is missing; petal_length is missing; petal_width is missing."),
        (_columns(name="colour")["inputs"], "colour is not a feature of this model; petal_width is missing."),
        (
            _columns(name="sepal_width")["inputs"],
            "sepal_width appears more than once in inputs; petal_width is missing.",
        ),
        (_columns()["inputs"] + _request()["inputs"], "input-0 is not a feature of this model."),
        (_request()["inputs"] * 2, "input-0 is not a feature of this model"),
        (_columns(shape=[1, 3])["inputs"], "inputs[3].shape must be [rows, 1] or [rows], not [1, 3]."),
        (
            _columns(shape=[2], data=[1, 2])["inputs"],
            "inputs must all have the same number of rows, not sepal_length 3",
        ),
        (_columns(data=[1, 2])["inputs"], "inputs[3].data must hold the 3 values of its shape, not 2."),
        ([], "inputs cannot be used"),
        ([1], "inputs[0] cannot be used"),
        ([{"name": 1}], "inputs[0].name cannot be used"),
        (None, "inputs cannot be used"),
    ],
)
def test_inputs_that_are_not_the_models_are_rejected(client: FlaskClient, inputs: Any, sentence: str) -> None:
    assert sentence in _rejected(client, {"inputs": inputs})


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"outputs": [{"name": "probabilities"}]}, "outputs[0].name must be predict or predict_proba."),
        ({"outputs": [*BOTH, BOTH[0]]}, "outputs[2].name asks for the same output twice."),
        ({"outputs": [{}]}, "outputs[0] cannot be used: object missing required field `name`."),
        ({"outputs": "predict"}, "outputs cannot be used"),
        (
            {"outputs": [{"name": "predict", "parameters": {"classification": 2}}]},
            "outputs[0].parameters.classification is not supported",
        ),
        (
            {"outputs": [{"name": "predict", "parameters": {"shared_memory_region": "r"}}]},
            "outputs[0].parameters.shared_memory_region is not supported",
        ),
        (
            {"outputs": [{"name": "predict", "parameters": {"binary_data": 1}}]},
            "outputs[0].parameters.binary_data must be true or false.",
        ),
        ({"parameters": {"binary_data_output": "yes"}}, "parameters.binary_data_output must be true or false."),
        ({"parameters": []}, "parameters cannot be used"),
        ({"id": 42}, "id cannot be used"),
        ({"id": "\ud800"}, "body has a string with half of a surrogate pair."),
    ],
)
def test_members_that_cannot_be_used_are_named(client: FlaskClient, members: dict[str, Any], sentence: str) -> None:
    assert sentence in _rejected(client, {**_request(), **members})


def test_a_lone_surrogate_is_rejected(client: FlaskClient) -> None:
    for body in ("\ud800", {"inputs": "\ud800"}, {**_request(), "\ud800": 1}, {**_request(), "id": "x\udfff"}):
        assert _rejected(client, body) == "body has a string with half of a surrogate pair."
    for body in (_request(name="\ud800"), {**_request(), "parameters": {"\ud800": "\ud800"}}):
        assert client.post(PATH, json=body).status_code == 200


@pytest.mark.parametrize("body", [[], 1, "text"])
def test_json_other_than_an_object_is_422(client: FlaskClient, body: Any) -> None:
    assert _rejected(client, body).startswith("body cannot be used: expected `object`")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is empty"),
        (b"{", "The body is not JSON"),
        (b"\xff", "The body is not UTF-8"),
        (b'{"inputs":' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_json_is_400(client: FlaskClient, body: bytes, sentence: str) -> None:
    answer = client.post(PATH, data=body, content_type="application/json")
    assert answer.status_code == 400
    assert sentence in answer.json["error"]


def test_the_limits_are_the_settings(make_app: Any, trained_store: Path) -> None:
    client = make_app(trained_store, max_rows=2, max_body_bytes=500).test_client()
    assert "more rows than the 2 " in _rejected(client, _request(), 413)
    assert client.post(PATH, json=_request(shape=[2, 4], data=ROWS[:2])).status_code == 200
    assert client.post(PATH, data=b" " * 501).status_code == 413
