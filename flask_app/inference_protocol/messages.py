"""The protocol's messages."""

from typing import Annotated, Any

import msgspec

SERVER_NAME = "flask-api"
SERVER_VERSION = "1.0.0"
EXTENSIONS = ["binary_tensor_data"]

# Clients set parameters for servers of all kinds; unknown ones are ignored.
Parameters = dict[str, Any]


class ServerMetadata(msgspec.Struct, frozen=True):
    """Answer of `GET /v2`."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(msgspec.Struct, frozen=True):
    """Name, datatype and shape of a tensor; -1 in a shape is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(msgspec.Struct, frozen=True):
    """Answer of `GET /v2/models/{model}`."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class RequestInput(msgspec.Struct, frozen=True):
    """A tensor of a request: `data`, flat or nested, or parameters.binary_data_size bytes after the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: Parameters | None = None


class NumericInput(RequestInput, frozen=True):
    """A RequestInput with its data as a flat array of doubles."""

    data: Any


class RequestOutput(msgspec.Struct, frozen=True):
    """A requested output; parameters.binary_data selects the binary form."""

    name: str
    parameters: Parameters | None = None


class InferRequest(msgspec.Struct, frozen=True):
    """The JSON of a request to `infer`."""

    inputs: Annotated[list[RequestInput], msgspec.Meta(min_length=1)]
    outputs: list[RequestOutput] | None = None
    id: str | None = None
    parameters: Parameters | None = None


class ResponseOutput(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tensor of an answer: flat `data`, or parameters.binary_data_size bytes after the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters
    data: list[int | float] | msgspec.UnsetType = msgspec.UNSET


class EncodedOutput(ResponseOutput, frozen=True, omit_defaults=True):
    """A ResponseOutput with its data encoded as JSON."""

    data: Any


class InferResponse(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The JSON of an answer of `infer`; `id` is the request's."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[ResponseOutput]
