"""Encode rows as a request of each server, and read the classes from its answer."""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.work import FEATURES, json_bytes

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
V2_PATH = "/v2/models/iris/infer"
LENGTH_HEADER = "Inference-Header-Content-Length"

Rows = NDArray[np.float64]
Headers = dict[str, str]


@dataclass(frozen=True)
class Form:
    """A kind of request: its path, its body for rows of shape (n, features), and the classes in its answer."""

    path: str
    body: Callable[[Rows], bytes]
    classes: Callable[[bytes, Headers], list[int]]
    content_type: str = JSON
    headers: Callable[[Rows], Headers] = field(default=lambda _rows: {})


def row_object(rows: Rows) -> bytes:
    """Return one row as an object of features."""
    return json_bytes(dict(zip(FEATURES, rows[0].tolist(), strict=True)))


def row_array(rows: Rows) -> bytes:
    """Return one row as an array in the model's order."""
    return json_bytes({"features": rows[0].tolist()})


def prediction(answer: bytes, _headers: Headers) -> list[int]:
    """Return the class of one row."""
    return [int(json.loads(answer)["prediction"])]


def predictions(answer: bytes, _headers: Headers) -> list[int]:
    """Return the classes of many rows."""
    return [int(label) for label in json.loads(answer)["predictions"]]


def listed(member: str) -> Callable[[Rows], bytes]:
    """{member: [[...], ...]}."""
    return lambda rows: json_bytes({member: rows.tolist()})


def instances_arrays(rows: Rows) -> bytes:
    """{"instances": [{"features": [...]}, ...]}."""
    return json_bytes({"instances": [{"features": row} for row in rows.tolist()]})


def instances_objects(rows: Rows) -> bytes:
    """{"instances": [{name: value, ...}, ...]}."""
    return json_bytes({"instances": [dict(zip(FEATURES, row, strict=True)) for row in rows.tolist()]})


def v2_json(rows: Rows) -> bytes:
    """Open Inference Protocol, one flat tensor."""
    tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}
    return json_bytes({"inputs": [tensor], "outputs": [{"name": "predict"}]})


def v2_json_classes(answer: bytes, _headers: Headers) -> list[int]:
    """Return the tensor `predict`."""
    return [int(label) for label in np.ravel(json.loads(answer)["outputs"][0]["data"])]


def _v2_binary_header(rows: Rows) -> bytes:
    size = {"binary_data_size": rows.size * 4}
    tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP32", "parameters": size}
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in ("predict", "predict_proba")]
    return json_bytes({"inputs": [tensor], "outputs": outputs})


def v2_binary(rows: Rows) -> bytes:
    """Open Inference Protocol, one binary tensor; the request is for classes and probabilities."""
    return _v2_binary_header(rows) + rows.astype("<f4").tobytes()


def v2_binary_headers(rows: Rows) -> Headers:
    """Return the header with the length of the JSON."""
    return {LENGTH_HEADER: str(len(_v2_binary_header(rows)))}


def v2_binary_classes(answer: bytes, headers: Headers) -> list[int]:
    """Return the tensor `predict`, INT64, which comes first."""
    length = int(headers[LENGTH_HEADER.lower()])
    count = json.loads(answer[:length])["outputs"][0]["shape"][0]
    return list(struct.unpack_from(f"<{count}q", answer, length))


def csv(rows: Rows, names: Sequence[str] = FEATURES) -> bytes:
    """Return a header row and the rows."""
    lines = [",".join(names), *(",".join(map(repr, row)) for row in rows.tolist())]
    return "\n".join(lines).encode() + b"\n"


def csv_classes(answer: bytes, _headers: Headers) -> list[int]:
    """Return the column `prediction`."""
    lines = answer.decode().splitlines()
    index = lines[0].split(",").index("prediction")
    return [int(line.split(",")[index]) for line in lines[1:]]


def arrow(rows: Rows, names: Sequence[str] = FEATURES) -> bytes:
    """Return an Arrow stream of float32 columns in batches of 65,536 rows."""
    import pyarrow as pa

    columns = [pa.array(column) for column in rows.astype(np.float32).T]
    sink = pa.BufferOutputStream()
    table = pa.table(columns, names=list(names))
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=65536)
    return bytes(sink.getvalue())


def arrow_classes(answer: bytes, _headers: Headers) -> list[int]:
    """Return the column `prediction`."""
    import pyarrow as pa

    labels: Any = pa.ipc.open_stream(answer).read_all()["prediction"]
    return [int(label) for label in labels.to_pylist()]


ROW = Form("/predict", row_object, prediction)
FILES = {
    "V2 binary": Form(
        V2_PATH, v2_binary, v2_binary_classes, content_type="application/octet-stream", headers=v2_binary_headers
    ),
    "Arrow": Form("/predict", arrow, arrow_classes, content_type=ARROW),
    "CSV": Form("/predict", csv, csv_classes, content_type=CSV),
}
OUR_JSON = {
    "instances, arrays": Form("/predict", instances_arrays, predictions),
    "instances, objects": Form("/predict", instances_objects, predictions),
    "V2 JSON": Form(V2_PATH, v2_json, v2_json_classes),
}
