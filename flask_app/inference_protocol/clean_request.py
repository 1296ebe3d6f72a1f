"""Decode a valid request with its values in JSON from bytes to arrays."""

from itertools import chain
from math import prod
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from flask_app.inference_protocol.messages import InferRequest, NumericInput, Parameters, RequestInput, RequestOutput
from flask_app.rows.rows_decoder import DECODING_ERRORS, doubles

_Data = TypeVar("_Data")


def read_clean_request(body: bytes) -> InferRequest | None:
    """Return the request with each tensor's data as a flat array that matches its shape.

    None if the general reader must decide: for any error, and for rare forms.
    """
    # Quotes are counted below, and a backslash may hide one.
    if b"\\" in body:
        return None
    for decoder in (_FLAT, _NESTED):
        try:
            request = decoder.decode(body)
        except DECODING_ERRORS:
            continue
        return _checked(request, body)
    return None


def _checked(request: "_Request[Any]", body: bytes) -> InferRequest | None:
    inputs: list[RequestInput] = []
    for tensor in request.inputs:
        values = _flat_values(tensor.data, tensor.shape)
        if values is None:
            return None
        inputs.append(
            NumericInput(tensor.name, tensor.shape, tensor.datatype, doubles(values), _given(tensor.parameters))
        )
        tensor.data = []
    # The decoder accepts a duplicate name and control characters in a string, which JSON does not allow. Encoded
    # again, the first has fewer quotes and the second a backslash.
    again = _encode(request)
    if b"\\" in again or body.count(b'"') != again.count(b'"'):
        return None
    outputs = _given(request.outputs)
    return InferRequest(
        inputs,
        outputs and [RequestOutput(output.name, _given(output.parameters)) for output in outputs],
        _given(request.id),
        _given(request.parameters),
    )


def _flat_values(data: list[Any], shape: list[int]) -> list[float] | tuple[float, ...] | None:
    """Return the values of flat data, or of one list a row; None if they do not match the shape."""
    if len(shape) not in (1, 2) or min(shape) < 1 or not data:
        return None
    if type(data[0]) is float:
        return data if len(data) == prod(shape) else None
    if len(shape) != 2 or len(data) != shape[0] or set(map(len, data)) != {shape[1]}:
        return None
    return tuple(chain.from_iterable(data))


def _given(value: Any) -> Any:
    return None if value is UNSET else value


class _Input(msgspec.Struct, Generic[_Data], forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    data: _Data
    parameters: Parameters | UnsetType = UNSET


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: Parameters | UnsetType = UNSET


class _Request(msgspec.Struct, Generic[_Data], forbid_unknown_fields=True):
    """An `InferRequest` that distinguishes a missing member from null, with data of one form."""

    inputs: Annotated[list[_Input[_Data]], msgspec.Meta(min_length=1)]
    outputs: list[_Output] | UnsetType = UNSET
    id: str | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET


_FLAT: msgspec.json.Decoder[_Request[Any]] = msgspec.json.Decoder(_Request[list[float]])
_NESTED: msgspec.json.Decoder[_Request[Any]] = msgspec.json.Decoder(_Request[list[list[float]]])
_encode = msgspec.json.Encoder().encode
