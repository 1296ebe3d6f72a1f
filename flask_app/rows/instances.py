"""Many rows in one JSON body: `{"instances": [row, row, ...]}`."""

from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flask_app.rows.matrix import all_good
from flask_app.rows.row_schema import RowSchema
from flask_app.rows.rows_decoder import MEMBER
from http_service.problems import MAX_ERRORS, FieldError, InvalidFields, Problem
from model_artifact.card import Feature


def has_instances(schema: RowSchema, body: Any) -> bool:
    """Return whether the body contains many rows; with a feature named `instances` it is one row."""
    return isinstance(body, dict) and MEMBER in body and all(feature.name != MEMBER for feature in schema.features)


def read_instances(schema: RowSchema, body: dict[str, Any], max_rows: int) -> NDArray[np.float64]:
    """Return the rows, shape (n, features).

    Raises:
        InvalidFields: rows do not match the model's features; it names the invalid fields of the first such rows.
        Problem: 413 more than max_rows.
    """
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
    clean = _read_clean(schema.features, rows)
    return _read_each(schema, rows) if clean is None else clean


def warnings_of(schema: RowSchema, matrix: NDArray[np.float64], rows: NDArray[np.int64]) -> list[FieldError]:
    """Return the first warnings of these rows, named by row and feature."""
    first = dict.fromkeys(rows[:MAX_ERRORS].tolist())
    warnings = (_in_row(index, warning) for index in first for warning in schema.warnings(matrix[index].tolist()))
    return list(warnings)[:MAX_ERRORS]


def _read_clean(features: list[Feature], rows: list[Any]) -> NDArray[np.float64] | None:
    """Return the rows if all are objects of valid numbers, else None; reading by columns is faster."""
    if set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(features)}:
        return None
    try:
        columns = [list(map(itemgetter(feature.name), rows)) for feature in features]
    except KeyError:
        return None
    # NumPy would read True and "5.1" as numbers.
    if not set(map(type, chain.from_iterable(columns))) <= {float, int}:
        return None
    try:
        matrix = np.array(columns, dtype=np.float64).T
    except OverflowError:
        return None
    return np.ascontiguousarray(matrix) if all_good(features, matrix) else None


def _read_each(schema: RowSchema, rows: list[Any]) -> NDArray[np.float64]:
    values, errors = [], []
    for index, row in enumerate(rows):
        try:
            values.append(schema.read(row))
        except InvalidFields as invalid:
            errors += [_in_row(index, error) for error in invalid.errors]
            if len(errors) >= MAX_ERRORS:
                break
    if errors:
        raise InvalidFields(errors)
    return np.array(values, dtype=np.float64)


def _in_row(index: int, error: FieldError) -> FieldError:
    row = f"{MEMBER}[{index}]"
    return {**error, "field": row if error["field"] == "body" else f"{row}.{error['field']}"}
