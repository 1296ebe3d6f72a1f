"""The binary tensor extension of the Open Inference Protocol, both ways."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from flask_app.inference_protocol.tensors import DATATYPES
from model_artifact.pickling import load_artifact
from model_artifact.store import ArtifactStore

PATH = "/v2/models/iris/infer"
LENGTH = "Inference-Header-Content-Length"
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]], np.float32)
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


@pytest.fixture(scope="module")
def model(trained_store: Path) -> Any:
    store = ArtifactStore(trained_store)
    return load_artifact(store.folder(store.current()), store.current()).model


def _tensor(values: Any, datatype: str = "FP32", name: str = "x") -> dict[str, Any]:
    size = {"binary_data_size": values.nbytes}
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "parameters": size}


def _post(client: FlaskClient, message: Any, raw: bytes, length: object = None) -> Any:
    head = message if isinstance(message, bytes) else json.dumps(message).encode()
    headers = {LENGTH: str(len(head) if length is None else length), "Content-Type": "application/octet-stream"}
    return client.post(PATH, data=head + raw, headers=headers)


def _outputs(answer: Any) -> dict[str, Any]:
    """Return the arrays of an answer, decoded by the extension's rules."""
    assert answer.status_code == 200, answer.text
    length = answer.headers.get(LENGTH)
    head = answer.data if length is None else answer.data[: int(length)]
    position = len(head)
    arrays = {}
    for output in json.loads(head)["outputs"]:
        dtype = DATATYPES[output["datatype"]]
        size = output["parameters"].get("binary_data_size")
        if size is None:
            values = np.array(output["data"], dtype)
        else:
            assert "data" not in output
            values = np.frombuffer(answer.data[position : position + size], dtype)
            position += size
        arrays[output["name"]] = values.reshape(output["shape"])
    assert position == len(answer.data)
    return arrays


def test_bytes_in_and_json_out(client: FlaskClient) -> None:
    answer = _post(client, {"inputs": [_tensor(ROWS)]}, ROWS.tobytes())
    assert answer.content_type == "application/json"
    assert LENGTH not in answer.headers
    assert _outputs(answer)["predict"].tolist() == [[0], [2], [1]]


@pytest.mark.parametrize("predict", [True, False, None])
@pytest.mark.parametrize("proba", [True, False, None])
@pytest.mark.parametrize("default", [True, False, None])
def test_each_output_is_binary_if_requested(
    client: FlaskClient, model: Any, predict: bool | None, proba: bool | None, default: bool | None
) -> None:
    outputs = [
        {"name": name, **({} if binary is None else {"parameters": {"binary_data": binary}})}
        for name, binary in (("predict_proba", proba), ("predict", predict))
    ]
    message = {"inputs": [_tensor(ROWS)], "outputs": outputs}
    if default is not None:
        message["parameters"] = {"binary_data_output": default}
    answer = _post(client, message, ROWS.tobytes())
    binary = {bool(default if given is None else given) for given in (predict, proba)}
    assert answer.content_type == ("application/octet-stream" if True in binary else "application/json")
    assert (LENGTH in answer.headers) == (True in binary)
    arrays = _outputs(answer)
    assert np.array_equal(arrays["predict_proba"], model.predict_proba(ROWS))
    assert np.array_equal(arrays["predict"].ravel(), model.predict(ROWS))


def test_json_in_and_bytes_out_needs_no_header(client: FlaskClient) -> None:
    tensor = {"name": "x", "shape": [3, 4], "datatype": "FP32", "data": ROWS.tolist()}
    answer = client.post(PATH, json={"inputs": [tensor], "parameters": {"binary_data_output": True}})
    assert _outputs(answer)["predict"].tolist() == [[0], [2], [1]]


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_is_read(client: FlaskClient, model: Any, datatype: str) -> None:
    rows = ROWS.astype(DATATYPES[datatype])
    message = {"inputs": [_tensor(rows, datatype)], "outputs": [{"name": "predict_proba"}]}
    arrays = _outputs(_post(client, message, rows.tobytes()))
    assert np.array_equal(arrays["predict_proba"], model.predict_proba(rows.astype(np.float32)))


def test_a_tensor_a_feature_in_any_order_with_json_among_them(client: FlaskClient) -> None:
    columns = dict(zip(NAMES, ROWS.T.copy(), strict=True))
    inputs = [_tensor(columns[name], name=name) for name in ("petal_width", "sepal_length", "petal_length")]
    width = {"name": "sepal_width", "shape": [3, 1], "datatype": "FP64", "data": columns["sepal_width"].tolist()}
    inputs.insert(1, width)
    raw = b"".join(columns[tensor["name"]].tobytes() for tensor in inputs if "parameters" in tensor)
    assert _outputs(_post(client, {"inputs": inputs}, raw))["predict"].tolist() == [[0], [2], [1]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "must be a finite number"),
        (np.inf, "must be a finite number"),
        (1e39, "must be a number that fits 32-bit floating point"),
    ],
)
def test_a_bad_value_is_named_by_row_and_feature(client: FlaskClient, value: float, message: str) -> None:
    rows = ROWS.astype(np.float64)
    rows[1, 2] = value
    answer = _post(client, {"inputs": [_tensor(rows, "FP64")]}, rows.tobytes())
    assert (answer.status_code, answer.json["error"]) == (422, f"row 1, petal_length {message}.")


@pytest.mark.parametrize(("datatype", "bits"), [("FP16", 0x7D01), ("FP32", 0x7FA00001), ("FP64", 0x7FF4000000000001)])
def test_a_signalling_nan_is_rejected_without_a_warning(client: FlaskClient, datatype: str, bits: int) -> None:
    dtype = DATATYPES[datatype]
    raw = bits.to_bytes(dtype.itemsize, "little") * 4
    answer = _post(client, {"inputs": [_tensor(np.zeros((1, 4), dtype), datatype)]}, raw)
    assert answer.status_code == 422
    assert answer.json["error"].startswith("row 0, sepal_length must be a finite number; ")


@pytest.mark.parametrize(
    ("size", "raw", "status", "sentence"),
    [
        (48, b"\0" * 47, 400, "The inputs declare 48 bytes of binary data, but 47 follow the JSON"),
        (48, b"", 400, "The inputs declare 48 bytes of binary data, but 0 follow the JSON"),
        (48, b"\0" * 49, 400, "49 bytes follow the JSON, but the inputs declare 48 of binary data."),
        (47, b"\0" * 47, 422, "inputs[0].parameters.binary_data_size must be 48, the bytes of its shape and datatype."),
        (49, b"\0" * 49, 422, "inputs[0].parameters.binary_data_size must be 48"),
        (0, b"", 422, "inputs[0].parameters.binary_data_size must be 48"),
        (-48, b"\0" * 48, 422, "inputs[0].parameters.binary_data_size must be 48"),
        (2**64, b"\0" * 48, 422, "inputs[0].parameters.binary_data_size must be 48"),
        (True, b"\0", 422, "inputs[0].parameters.binary_data_size must be 48"),
        (48.0, b"\0" * 48, 422, "inputs[0].parameters.binary_data_size must be 48"),
        ("48", b"\0" * 48, 422, "inputs[0].parameters.binary_data_size must be 48"),
        (None, b"\0" * 48, 422, "inputs[0] has neither data nor parameters.binary_data_size."),
    ],
)
def test_sizes_must_agree(client: FlaskClient, size: Any, raw: bytes, status: int, sentence: str) -> None:
    tensor = {**_tensor(ROWS), "parameters": {"binary_data_size": size}}
    answer = _post(client, {"inputs": [tensor]}, raw)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert sentence in answer.json["error"]


def test_two_tensors_cannot_share_their_bytes(client: FlaskClient) -> None:
    column = ROWS[:, 0].copy()
    answer = _post(client, {"inputs": [_tensor(column, name=name) for name in NAMES]}, column.tobytes() * 3)
    assert answer.status_code == 400
    assert "declare 48 bytes of binary data, but 36 follow the JSON" in answer.json["error"]


def test_data_and_bytes_together_are_rejected(client: FlaskClient) -> None:
    answer = _post(client, {"inputs": [{**_tensor(ROWS), "data": ROWS.tolist()}]}, ROWS.tobytes())
    assert answer.status_code == 422
    assert answer.json["error"] == "inputs[0] has both data and parameters.binary_data_size."


@pytest.mark.parametrize("shape", [[2**62, 4], [2**61, 4], [100_001, 4]])
def test_an_absurd_shape_allocates_nothing(client: FlaskClient, shape: list[int]) -> None:
    tensor = {**_tensor(ROWS), "shape": shape, "parameters": {"binary_data_size": shape[0] * 16}}
    assert _post(client, {"inputs": [tensor]}, ROWS.tobytes()).status_code == 413


@pytest.mark.parametrize(
    ("length", "sentence"),
    [
        ("", "must be a number of bytes, in digits"),
        ("x", "must be a number of bytes, in digits"),
        ("-1", "must be a number of bytes, in digits"),
        ("+5", "must be a number of bytes, in digits"),
        ("1e2", "must be a number of bytes, in digits"),
        ("10, 10", "must be a number of bytes, in digits"),
        ("9" * 5000, "must be a number of bytes, in digits"),
        ("999999", "declares 999999 bytes, but the body has "),
        ("0", "must not be 0"),
        ("1", "The body is not JSON"),
        ("10", "The body is not JSON"),
    ],
)
def test_a_header_length_that_does_not_fit_is_400(client: FlaskClient, length: str, sentence: str) -> None:
    answer = _post(client, {"inputs": [_tensor(ROWS)]}, ROWS.tobytes(), length)
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert sentence in answer.json["error"]
    assert len(answer.data) < 600


def test_a_length_into_the_bytes_is_400(client: FlaskClient) -> None:
    message = json.dumps({"inputs": [_tensor(ROWS)]}).encode()
    assert _post(client, message, ROWS.tobytes(), len(message) + 4).status_code == 400


def test_bytes_without_the_header_are_400(client: FlaskClient) -> None:
    body = json.dumps({"inputs": [_tensor(ROWS)]}).encode()
    assert (
        client.post(PATH, data=body)
        .json["error"]
        .endswith("but 0 follow the JSON, whose length is in the header Inference-Header-Content-Length.")
    )
    assert client.post(PATH, data=body + ROWS.tobytes()).status_code == 400


def test_a_header_that_is_not_json_is_400(client: FlaskClient) -> None:
    answer = _post(client, b"\x80\x02raw", ROWS.tobytes())
    assert (answer.status_code, answer.json["error"]) == (400, "The body is not UTF-8 at byte 0.")
