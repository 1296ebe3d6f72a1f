"""From a table's columns to the model's features, and what is wrong with their cells."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flask_app.rows.matrix import all_good, bad_cells, number_fault
from http_service.problems import MAX_ERRORS, FieldError, InvalidFields
from model_artifact.card import Feature
from table_io import cells

# Faults that the column `error` names in one row, so that a bad file does not become many times larger.
MAX_ROW_FAULTS = 5
_MAX_NAME = 100
_MAX_SHOWN = 40
# A Parquet file can repeat one value a million times in a few bytes.
_MAX_FIXED_BYTES = 256

_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
_OTHERS = (
    *(pa.types.is_null, pa.types.is_boolean, pa.types.is_string, pa.types.is_large_string),
    # Not intervals, which are temporal as well: Parquet and CSV have no form for them.
    *(pa.types.is_timestamp, pa.types.is_date, pa.types.is_time, pa.types.is_duration),
    *(pa.types.is_binary, pa.types.is_large_binary),
)


@dataclass(frozen=True)
class FeatureColumns:
    """Where a table keeps the model's features: indices[i] is the column of features[i]."""

    features: list[Feature]
    indices: list[int]

    def read(self, chunk: pa.RecordBatch) -> NDArray[np.float64]:
        """Return the features' cells, shape (n, features); NaN for each that is not a number."""
        matrix = np.empty((chunk.num_rows, len(self.indices)))
        for column, index in enumerate(self.indices):
            matrix[:, column] = cells.numbers(chunk.column(index))
        return matrix

    def check(self, chunk: pa.RecordBatch, first_row: int) -> None:
        """Accept the chunk if the model can predict every row; first_row counts from 1.

        Raises:
            InvalidFields: a cell is empty, not a number, or not one that the feature can have; it names the first.
        """
        matrix = self.read(chunk)
        if all_good(self.features, matrix):
            return
        bad = bad_cells(self.features, matrix)
        errors: list[FieldError] = []
        for row in np.flatnonzero(bad.any(axis=1))[:MAX_ERRORS].tolist():
            columns = np.flatnonzero(bad[row])[: MAX_ERRORS - len(errors)].tolist()
            errors += [
                {"field": f"row {first_row + row}, {name}", "message": message}
                for name, message in (self._fault(chunk, matrix, row, column) for column in columns)
            ]
        raise InvalidFields(errors)

    def errors(self, chunk: pa.RecordBatch, matrix: NDArray[np.float64]) -> list[str | None]:
        """Return what keeps each row from being predicted; None for a row that can be."""
        errors: list[str | None] = [None] * chunk.num_rows
        if all_good(self.features, matrix):
            return errors
        bad = bad_cells(self.features, matrix)
        for row in np.flatnonzero(bad.any(axis=1)).tolist():
            columns = np.flatnonzero(bad[row]).tolist()
            faults = [" ".join(self._fault(chunk, matrix, row, column)) for column in columns[:MAX_ROW_FAULTS]]
            more = len(columns) - len(faults)
            errors[row] = "; ".join([*faults, *([f"and {more} more"] if more else [])])
        return errors

    def _fault(self, chunk: pa.RecordBatch, matrix: NDArray[np.float64], row: int, column: int) -> tuple[str, str]:
        feature, cell, value = (
            self.features[column],
            chunk.column(self.indices[column])[row].as_py(),
            matrix[row, column],
        )
        text = "" if cell is None else str(cell).strip()
        if not text:
            return feature.name, "is empty"
        if isinstance(cell, str) and math.isnan(value) and text.lstrip("+-").lower() != "nan":
            shown = repr(text[:_MAX_SHOWN]) + ("..." if len(text) > _MAX_SHOWN else "")
            return feature.name, f"must be a number, not {shown}"
        return feature.name, number_fault(feature, float(value)) or ""


def find_columns(features: list[Feature], schema: pa.Schema, is_text: bool, added: list[str]) -> FeatureColumns:
    """Find the features in a table; is_text: every cell is text, as in CSV; added: names of the answer's own columns.

    Raises:
        InvalidFields: a name is missing or one of the added; a column is of a type that is not supported.
    """
    wanted = [feature.name for feature in features]
    errors = [
        _error(name, "is a column of the answer; rename it in the file") for name in schema.names if name in added
    ]
    errors += [_error(name, "is missing among the columns") for name in wanted if name not in schema.names]
    if not is_text:
        errors += [_error(field.name, fault) for field in schema if (fault := _type_fault(field, field.name in wanted))]
    if errors:
        raise InvalidFields(errors)
    return FeatureColumns(features, [schema.get_field_index(name) for name in wanted])


def _type_fault(field: pa.Field, is_feature: bool) -> str | None:
    kind = field.type
    if is_feature:
        is_good = any(check(kind) for check in _NUMBERS)
        return None if is_good else f"must be a column of numbers, not of type {_shown(kind)}"
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_short = pa.types.is_fixed_size_binary(kind) and kind.byte_width <= _MAX_FIXED_BYTES
    if is_short or any(check(kind) for check in (*_NUMBERS, *_OTHERS)):
        return None
    return f"is of type {_shown(field.type)}, which this service does not pass through; leave it out"


def _shown(kind: Any) -> str:
    return str(kind)[:_MAX_NAME]


def _error(name: str, message: str) -> FieldError:
    return {"field": name[:_MAX_NAME], "message": message}
