"""From a table's columns to checked rows."""

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flask_app.rows.matrix import check_matrix
from http_service.problems import MAX_ERRORS, FieldError, InvalidFields, Problem
from model_artifact.card import Feature, ModelCard

MAX_COLUMNS = 10_000
_MAX_NAME = 100
_MAX_SHOWN = 40
# A Parquet file may repeat one value a million times in a few bytes.
_MAX_FIXED_BYTES = 256


@dataclass(frozen=True)
class Columns:
    """Where a table keeps the model's features."""

    features: list[Feature]
    indices: list[int]

    def read(self, batch: pa.RecordBatch, first_row: int) -> NDArray[np.float64]:
        """The features' cells as numbers, shape (n, features), not yet checked to be finite; first_row counts from 1.

        Raises:
            InvalidFields: a cell is empty or not a number; it names the first ones by row and column.
        """
        matrix = np.empty((batch.num_rows, len(self.indices)))
        errors: list[tuple[int, FieldError]] = []
        for column, (feature, index) in enumerate(zip(self.features, self.indices, strict=True)):
            numbers, bad = _numbers(batch.column(index))
            errors += [(row, _cell_error(first_row + row, feature, message)) for row, message in bad]
            if not bad:
                matrix[:, column] = numbers
        if errors:
            raise InvalidFields([error for _, error in sorted(errors, key=lambda item: item[0])])
        return matrix

    def check(self, batch: pa.RecordBatch, first_row: int) -> NDArray[np.float32]:
        """The rows as the model takes them.

        Raises:
            InvalidFields: a cell is empty, no number, or not one that the model takes.
        """
        return check_matrix(self.features, self.read(batch, first_row), first_row)


def find_columns(card: ModelCard, schema: pa.Schema, text: bool, added: list[str]) -> Columns:
    """The features' places in a table; text: every cell is text, as in CSV; added: names of the answer's own columns.

    Raises:
        InvalidFields: a name is missing, twice there, or one of the added; a column is of a type that is not taken.
    """
    names = schema.names
    errors: list[FieldError] = []
    for name in dict.fromkeys(names):
        if name in added:
            errors.append(_field(name, "is a column of the answer; rename it in the file"))
    seen: set[str] = set()
    twice = {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]
    errors += [_field(name, "stands twice among the columns") for name in dict.fromkeys(names) if name in twice]
    wanted = [feature.name for feature in card.features]
    errors += [_field(name, "is missing among the columns") for name in wanted if name not in seen]
    if not text:
        errors += [_field(field.name, fault) for field in schema if (fault := _type_fault(field, field.name in wanted))]
    if errors:
        raise InvalidFields(errors)
    return Columns(card.features, [schema.get_field_index(name) for name in wanted])


def check_width(count: int) -> None:
    """Refuse a table with so many columns that each row would be work without end.

    Raises:
        Problem: 422.
    """
    if count > MAX_COLUMNS:
        raise Problem(422, f"The table has more than {MAX_COLUMNS} columns; send only those that you need.")


def _numbers(column: pa.Array) -> tuple[NDArray[np.float64] | None, list[tuple[int, str]]]:
    """The column as doubles, or its first bad cells."""
    if not pa.types.is_string(column.type):
        if column.null_count:
            empty = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
            return None, [(int(row), "is empty") for row in empty[:MAX_ERRORS]]
        return column.cast(pa.float64(), safe=False).to_numpy(), []
    with contextlib.suppress(pa.ArrowInvalid):
        return column.cast(pa.float64()).to_numpy(), []
    column = pc.utf8_trim_whitespace(column)
    with contextlib.suppress(pa.ArrowInvalid):
        return column.cast(pa.float64()).to_numpy(), []
    bad: list[tuple[int, str]] = []
    for row, text in enumerate(column.to_pylist()):
        if not _is_number(text):
            shown = repr(text[:_MAX_SHOWN]) + ("..." if len(text) > _MAX_SHOWN else "")
            bad.append((row, f"must be a number, not {shown}" if text else "is empty"))
            if len(bad) == MAX_ERRORS:
                break
    return None, bad


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _type_fault(field: pa.Field, feature: bool) -> str | None:
    kind = field.type
    types = pa.types
    if feature:
        good = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        return None if good else f"must be a column of numbers, not of type {_shown(kind)}"
    if types.is_dictionary(kind):
        kind = kind.value_type
    flat = (
        types.is_null(kind)
        or types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_temporal(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or (types.is_fixed_size_binary(kind) and kind.byte_width <= _MAX_FIXED_BYTES)
    )
    return None if flat else f"is of type {_shown(field.type)}, which this service does not pass on; leave it out"


def _shown(kind: Any) -> str:
    return str(kind)[:_MAX_NAME]


def _field(name: str, message: str) -> FieldError:
    return {"field": name[:_MAX_NAME], "message": message}


def _cell_error(row: int, feature: Feature, message: str) -> FieldError:
    return {"field": f"row {row}, {feature.name}", "message": message}
