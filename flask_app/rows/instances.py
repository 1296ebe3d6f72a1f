"""Many rows in one JSON body: `{"instances": [row, row, ...]}`."""

from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flask_app.model.prediction import predict_matrix
from flask_app.model.served_model import ServedModel
from flask_app.rows.matrix import all_good, encode_numbers
from flask_app.rows.rows_decoder import MEMBER
from http_service.problems import MAX_ERRORS, FieldError, InvalidFields, Problem
from model_artifact.card import Feature


def holds_instances(served: ServedModel, body: Any) -> bool:
    """The body asks for many rows; a feature of that very name would be a row's."""
    names = [feature.name for feature in served.artifact.card.features]
    return isinstance(body, dict) and MEMBER in body and MEMBER not in names


def predict_instances(served: ServedModel, body: dict[str, Any], max_rows: int) -> dict[str, Any]:
    """Class and probabilities of each row, in the rows' order, with warnings for values outside the training range.

    Raises:
        InvalidFields: rows do not fit the model's features; it names the bad fields of the first bad rows.
        Problem: 413 more than max_rows.
    """
    return predict_rows(served, _read(served, body, max_rows))


def predict_rows(served: ServedModel, matrix: NDArray[np.float64]) -> dict[str, Any]:
    """As `predict_instances`, for checked values of shape (n, features)."""
    probabilities = predict_matrix(served, matrix.astype(np.float32))
    predictions = probabilities.argmax(axis=1)
    features, classes = served.artifact.card.features, served.artifact.card.classes
    answer: dict[str, Any] = {
        "predictions": predictions.tolist(),
        "class_names": np.array(classes, dtype=object)[predictions].tolist(),
        "probabilities": encode_numbers(probabilities),
        "model_version": served.version,
    }
    low = np.array([feature.minimum for feature in features])
    high = np.array([feature.maximum for feature in features])
    outside = np.argwhere((matrix < low) | (matrix > high))
    if len(outside):
        answer["warnings"] = _warnings(served, matrix, outside[:, 0])
        answer["warning_count"] = len(outside)
    return answer


def _read(served: ServedModel, body: dict[str, Any], max_rows: int) -> NDArray[np.float64]:
    errors: list[FieldError] = [
        {"field": name[:100], "message": f"is unknown beside {MEMBER}"} for name in body if name != MEMBER
    ]
    rows = body[MEMBER]
    if not isinstance(rows, list) or not rows:
        message = "must hold at least one row" if isinstance(rows, list) else "must be an array of rows"
        errors.append({"field": MEMBER, "message": message})
    if errors:
        raise InvalidFields(errors)
    if len(rows) > max_rows:
        raise Problem(413, f"{MEMBER} holds {len(rows)} rows; send at most {max_rows} in one request, or a CSV file.")
    clean = _read_clean(served.artifact.card.features, rows)
    return _read_each(served, rows) if clean is None else clean


def _read_clean(features: list[Feature], rows: list[Any]) -> NDArray[np.float64] | None:
    """The rows if all are objects of good numbers, by columns; None if any needs a closer look."""
    if set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(features)}:
        return None
    try:
        columns = [list(map(itemgetter(feature.name), rows)) for feature in features]
    except KeyError:
        return None
    # NumPy would read True and "5.1" as numbers, too.
    if not set(map(type, chain.from_iterable(columns))) <= {float, int}:
        return None
    try:
        matrix = np.array(columns, dtype=np.float64).T
    except OverflowError:
        return None
    return np.ascontiguousarray(matrix) if all_good(features, matrix) else None


def _read_each(served: ServedModel, rows: list[Any]) -> NDArray[np.float64]:
    values, errors = [], []
    for index, row in enumerate(rows):
        try:
            values.append(served.row_schema.read(row))
        except InvalidFields as invalid:
            errors += [_in_row(index, error) for error in invalid.errors]
            if len(errors) >= MAX_ERRORS:
                break
    if errors:
        raise InvalidFields(errors)
    return np.array(values, dtype=np.float64)


def _warnings(served: ServedModel, matrix: NDArray[np.float64], rows: NDArray[np.int64]) -> list[FieldError]:
    first = dict.fromkeys(rows[:MAX_ERRORS].tolist())
    warnings = (
        _in_row(index, warning) for index in first for warning in served.row_schema.warnings(matrix[index].tolist())
    )
    return list(warnings)[:MAX_ERRORS]


def _in_row(index: int, error: FieldError) -> FieldError:
    row = f"{MEMBER}[{index}]"
    return {**error, "field": row if error["field"] == "body" else f"{row}.{error['field']}"}
