"""Decode and encode the values of tensors, as JSON or bytes."""

import math
from collections.abc import Callable
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flask_app.inference_protocol.messages import EncodedOutput, NumericInput, RequestInput, ResponseOutput
from flask_app.rows.matrix import encode_numbers
from http_service.problems import MAX_ERRORS, InvalidFields

# The protocol's datatypes; its bytes are little endian on any machine.
DATATYPES: dict[str, np.dtype[Any]] = {
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
}
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
_KINDS = {bool: "a boolean", str: "a string", type(None): "null", list: "an array", dict: "an object"}
# Beyond float32 but finite, so that the error is "too large" and not "not finite".
_TOO_LARGE = 1e308

# Returns the name, for errors, of the value at an index of the flat tensor.
CellName = Callable[[int], str]


def values_from_json(tensor: RequestInput, where: str, cell_name: CellName) -> NDArray[np.float64]:
    """Return the flat values of `data`, in row-major order; `where` is the tensor's place in the request.

    Raises:
        InvalidFields: data does not match the shape, or a value is not a number or does not fit the datatype.
    """
    if isinstance(tensor, NumericInput):
        return _as_datatype(tensor.data, tensor.datatype, cell_name)
    values = _flat(tensor, where)
    # NumPy would convert true to 1, "5.1" to 5.1 and None to NaN.
    if set(map(type, values)) - {int, float}:
        bad = ((index, value) for index, value in enumerate(values) if type(value) not in (int, float))
        raise InvalidFields(
            [
                {"field": cell_name(index), "message": f"must be a number, not {_KINDS[type(value)]}"}
                for index, value in islice(bad, MAX_ERRORS)
            ]
        )
    return _as_datatype(_as_doubles(values), tensor.datatype, cell_name)


def values_from_bytes(raw: memoryview, datatype: str) -> NDArray[Any]:
    """Return the flat values of a tensor's bytes, whose length was checked, without copying."""
    return np.frombuffer(raw, dtype=DATATYPES[datatype])


def encode(name: str, values: NDArray[Any], binary: bool) -> tuple[ResponseOutput, bytes]:
    """Return a tensor of an answer, and its bytes after the JSON, empty unless it is binary."""
    datatype = _NAMES[values.dtype.newbyteorder("<")]
    # MLServer sends this with each output, and its clients decode by it.
    parameters: dict[str, Any] = {"content_type": "np"}
    shape = list(values.shape)
    if not binary:
        return EncodedOutput(name, shape, datatype, parameters, encode_numbers(values.ravel())), b""
    raw = values.astype(DATATYPES[datatype], copy=False).tobytes()
    return ResponseOutput(name, shape, datatype, {**parameters, "binary_data_size": len(raw)}), raw


def _flat(tensor: RequestInput, where: str) -> list[Any]:
    data: list[Any] = tensor.data or []
    sizes = [len(data)]
    while list in (kinds := set(map(type, data))):
        lengths = set(map(len, data)) if len(kinds) == 1 else set()
        if len(lengths) != 1:
            raise _invalid(where, "holds rows of different lengths")
        sizes.append(lengths.pop())
        data = list(chain.from_iterable(data))
    count = math.prod(tensor.shape)
    if len(data) != count:
        raise _invalid(where, f"must hold the {count} values of its shape, not {len(data)}")
    # Data nested in another shape may be transposed; lists of length 1 do not matter.
    if len(sizes) > 1 and [size for size in sizes if size != 1] != [size for size in tensor.shape if size != 1]:
        raise _invalid(where, f"must be flat, or nested in its shape {tensor.shape}")
    return data


def _invalid(where: str, message: str) -> InvalidFields:
    return InvalidFields([{"field": f"{where}.data", "message": message}])


def _as_doubles(values: list[int | float]) -> NDArray[np.float64]:
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        return np.array([_as_double(value) for value in values], dtype=np.float64)


def _as_double(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return _TOO_LARGE if value > 0 else -_TOO_LARGE


def _as_datatype(values: NDArray[np.float64], datatype: str, cell_name: CellName) -> NDArray[np.float64]:
    dtype = DATATYPES[datatype]
    if dtype.kind == "f":
        if datatype != "FP16":
            return values
        bad = np.isfinite(values) & (np.abs(values) > float(np.finfo(dtype).max))
        message = "must be a number that FP16 holds"
    else:
        limits = np.iinfo(dtype)
        bad = ~((values == np.floor(values)) & (values >= float(limits.min)) & (values <= float(limits.max)))
        message = f"must be a whole number that {datatype} holds"
    if bad.any():
        raise InvalidFields(
            [{"field": cell_name(int(index)), "message": message} for index in np.flatnonzero(bad)[:MAX_ERRORS]]
        )
    return values.astype(dtype).astype(np.float64) if dtype.kind == "f" else values
