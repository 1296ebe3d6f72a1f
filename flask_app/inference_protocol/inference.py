"""Answer a request: tensors to rows, rows to probabilities, probabilities to outputs."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flask_app.inference_protocol.messages import (
    InferRequest,
    InferResponse,
    ModelMetadata,
    RequestInput,
    ResponseOutput,
    TensorMetadata,
)
from flask_app.inference_protocol.request import LENGTH_HEADER
from flask_app.inference_protocol.tensors import DATATYPES, CellName, encode, values_from_bytes, values_from_json
from flask_app.model.prediction import predict_matrix
from flask_app.model.served_model import ServedModel
from flask_app.rows.matrix import check_matrix
from http_service.problems import FieldError, InvalidFields, Problem
from model_artifact.card import Feature

# The outputs of MLServer's XGBoost runtime; the first is its default.
PREDICT, PREDICT_PROBA = "predict", "predict_proba"
OUTPUTS = (PREDICT, PREDICT_PROBA)

_MAX_SHOWN = 100
# check_matrix takes these without conversion.
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def model_metadata(served: ServedModel) -> ModelMetadata:
    """Return names, datatypes and shapes of the tensors; a request's single input may have any name."""
    card = served.artifact.card
    return ModelMetadata(
        name=card.model_name,
        versions=[served.version],
        platform="linear_pickle" if card.predictor == "linear" else "xgboost_pickle",
        inputs=[TensorMetadata("input-0", "FP32", [-1, len(card.features)])],
        outputs=[
            TensorMetadata(PREDICT, "INT64", [-1, 1]),
            TensorMetadata(PREDICT_PROBA, "FP32", [-1, len(card.classes)]),
        ],
    )


def infer(
    served: ServedModel, request: InferRequest, binary: memoryview, max_rows: int
) -> tuple[InferResponse, list[bytes]]:
    """Return the answer and the bytes that follow its JSON; `binary` is the data that followed the request's.

    Raises:
        Problem: 400 binary does not match the request's sizes, 413 more than max_rows rows.
        InvalidFields: an input or output does not match the model, or a value is not a finite number.
    """
    outputs = _wanted_outputs(request)
    rows = _rows(served.artifact.card.features, request.inputs, binary, max_rows)
    probabilities = predict_matrix(served, rows)
    answers: list[ResponseOutput] = []
    raw: list[bytes] = []
    for name, as_binary in outputs.items():
        values: NDArray[Any] = probabilities
        if name == PREDICT:
            values = probabilities.argmax(axis=1).astype(np.int64).reshape(-1, 1)
        answer, data = encode(name, values, as_binary)
        answers.append(answer)
        raw.append(data)
    name = served.artifact.card.model_name
    return InferResponse(model_name=name, model_version=served.version, id=request.id, outputs=answers), raw


def _wanted_outputs(request: InferRequest) -> dict[str, bool]:
    """Return each output's name, and whether it is binary."""
    default = _flag(request.parameters, "binary_data_output", "parameters", False)
    if not request.outputs:
        return {PREDICT: default}
    wanted: dict[str, bool] = {}
    for index, output in enumerate(request.outputs):
        where = f"outputs[{index}]"
        parameters = output.parameters or {}
        if output.name not in OUTPUTS:
            raise InvalidFields([_error(f"{where}.name", f"must be {' or '.join(OUTPUTS)}")])
        if output.name in wanted:
            raise InvalidFields([_error(f"{where}.name", "asks for the same output twice")])
        for unsupported in ("classification", "shared_memory_region"):
            if unsupported in parameters:
                raise InvalidFields([_error(f"{where}.parameters.{unsupported}", "is not supported by this service")])
        wanted[output.name] = _flag(parameters, "binary_data", f"{where}.parameters", default)
    return wanted


def _rows(
    features: list[Feature], inputs: list[RequestInput], binary: memoryview, max_rows: int
) -> NDArray[np.float32]:
    names = [feature.name for feature in features]
    for index, tensor in enumerate(inputs):
        if tensor.datatype not in DATATYPES:
            raise InvalidFields([_error(f"inputs[{index}].datatype", f"must be one of {', '.join(DATATYPES)}")])
    if _is_matrix(inputs, names):
        (tensor,) = inputs
        count = _check_shape(tensor, "inputs[0]", names, max_rows)
        (section,) = _sections(inputs, binary)
        width = len(names)
        flat = _values(tensor, "inputs[0]", section, lambda cell: f"row {cell // width}, {names[cell % width]}")
        matrix = (flat if flat.dtype in _FLOATS else _as_doubles(flat)).reshape(count, width)
    else:
        matrix = _columns(inputs, names, binary, max_rows)
    return check_matrix(features, matrix)


def _is_matrix(inputs: list[RequestInput], names: list[str]) -> bool:
    """Return whether the input is one tensor of all features, rather than a tensor a feature."""
    if len(inputs) > 1:
        return False
    return len(names) == 1 or inputs[0].name not in names or inputs[0].shape[1:] == [len(names)]


def _columns(inputs: list[RequestInput], names: list[str], binary: memoryview, max_rows: int) -> NDArray[np.float64]:
    _check_names(inputs, names)
    counts = [_check_shape(tensor, f"inputs[{index}]", [tensor.name], max_rows) for index, tensor in enumerate(inputs)]
    if len(set(counts)) > 1:
        given = ", ".join(f"{tensor.name} {count}" for tensor, count in zip(inputs, counts, strict=True))
        raise InvalidFields([_error("inputs", f"must all have the same number of rows, not {given}")])
    matrix = np.empty((counts[0], len(names)), dtype=np.float64)
    for index, (tensor, section) in enumerate(zip(inputs, _sections(inputs, binary), strict=True)):
        flat = _values(tensor, f"inputs[{index}]", section, _column_cells(tensor.name))
        matrix[:, names.index(tensor.name)] = _as_doubles(flat)
    return matrix


def _check_names(inputs: list[RequestInput], names: list[str]) -> None:
    given = [tensor.name for tensor in inputs]
    seen: set[str] = set()
    errors: list[FieldError] = []
    for name in given:
        if name not in names:
            errors.append(_error(name[:_MAX_SHOWN], "is not a feature of this model"))
        elif name in seen:
            errors.append(_error(name, "appears more than once in inputs"))
        seen.add(name)
    errors += [_error(name, "is missing") for name in names if name not in seen]
    if errors:
        raise InvalidFields(errors)


def _check_shape(tensor: RequestInput, where: str, columns: list[str], max_rows: int) -> int:
    """Return the number of rows of a tensor with these columns."""
    shape = tensor.shape
    width = len(columns)
    if len(shape) not in ((1, 2) if width == 1 else (2,)) or shape[1:] not in ([], [width]):
        expected = f"[rows, {width}]" + (" or [rows]" if width == 1 else f", with the columns {', '.join(columns)}")
        raise InvalidFields([_error(f"{where}.shape", f"must be {expected[:500]}, not {str(shape)[:100]}")])
    if shape[0] < 1:
        raise InvalidFields([_error(f"{where}.shape", "must have at least 1 row")])
    if shape[0] > max_rows:
        raise Problem(413, f"{where}.shape has more rows than the {max_rows} that one request may have; send fewer.")
    return shape[0]


def _sections(inputs: list[RequestInput], binary: memoryview) -> list[memoryview | None]:
    """Return the bytes of each tensor, None for one with its data in the JSON."""
    sections: list[memoryview | None] = []
    start = 0
    for index, tensor in enumerate(inputs):
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            if tensor.data is None:
                raise InvalidFields([_error(f"inputs[{index}]", "has neither data nor parameters.binary_data_size")])
            sections.append(None)
            continue
        if tensor.data is not None:
            raise InvalidFields([_error(f"inputs[{index}]", "has both data and parameters.binary_data_size")])
        expected = math.prod(tensor.shape) * DATATYPES[tensor.datatype].itemsize
        if type(size) is not int or size != expected:
            message = f"must be {expected}, the bytes of its shape and datatype"
            raise InvalidFields([_error(f"inputs[{index}].parameters.binary_data_size", message)])
        sections.append(binary[start : start + size])
        start += size
    if start > len(binary):
        raise Problem(
            400,
            f"The inputs declare {start} bytes of binary data, but {len(binary)} follow the JSON, whose length is in"
            f" the header {LENGTH_HEADER}.",
        )
    if start < len(binary):
        raise Problem(400, f"{len(binary)} bytes follow the JSON, but the inputs declare {start} of binary data.")
    return sections


def _values(tensor: RequestInput, where: str, section: memoryview | None, cell_name: CellName) -> NDArray[Any]:
    if section is None:
        return values_from_json(tensor, where, cell_name)
    return values_from_bytes(section, tensor.datatype)


def _as_doubles(values: NDArray[Any]) -> NDArray[np.float64]:
    # A signalling NaN would warn; check_matrix rejects it.
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64, copy=False)


def _column_cells(name: str) -> CellName:
    return lambda cell: f"row {cell}, {name}"


def _flag(parameters: dict[str, Any] | None, name: str, where: str, default: bool) -> bool:
    value = (parameters or {}).get(name, default)
    if type(value) is not bool:
        raise InvalidFields([_error(f"{where}.{name}", "must be true or false")])
    return value


def _error(field: str, message: str) -> FieldError:
    return {"field": field, "message": message}
