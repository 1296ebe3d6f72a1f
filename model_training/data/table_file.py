"""CSV and Parquet files to train from: columns of numbers are features, one column has the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model_training.data.datasets import Column, DataError, Dataset
from table_io.csv_table import CsvTable
from table_io.errors import TableFormatError
from table_io.kinds import HEAD_BYTES, kind_of_file
from table_io.names import clean_names
from table_io.reader import read_typed

PREVIEW_ROWS = 5
MAX_CLASSES = 1000
# Characters of the name of a column, a class or a table.
MAX_NAME = 128
# Bytes of CSV that are read at a time, and the most that a row may have.
_BLOCK_BYTES = 1024**2

Kind = Literal["integer", "float", "boolean", "text", "date", "empty", "nested", "other"]
_FEATURE_KINDS: tuple[Kind, ...] = ("integer", "float", "boolean")
_CLASS_KINDS: tuple[Kind, ...] = ("integer", "float", "boolean", "text")
_HOLDS = {
    "text": "text",
    "date": "dates or times",
    "nested": "lists or structures",
    "other": "values that are neither numbers nor UTF-8 text",
}


class ColumnSummary(msgspec.Struct, frozen=True):
    """A column of a table; usable: it can be a feature. The bounds are None without numbers."""

    name: str
    dtype: Kind
    usable: bool
    missing: int
    minimum: float | None
    maximum: float | None


def read_table(path: Path) -> pa.Table:
    """Return a CSV or Parquet file as a table; its first bytes decide.

    Raises:
        DataError: it cannot be read, or a column has a name that a feature cannot have.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if kind_of_file(head) == "parquet":
                # In this process: the training service limits it already.
                table = pq.ParquetFile(path).read()
                table = table.rename_columns(clean_names(table.column_names))
            else:
                table = read_typed(CsvTable(file, block_bytes=_BLOCK_BYTES))
    except TableFormatError as error:
        reason = str(error) if error.faults else f"{str(error)[:1].lower()}{str(error)[1:]}"
        raise DataError(f"The file {path.name} cannot be read: {reason}") from None
    except UnicodeDecodeError:
        raise DataError(f"The names of the columns of {path.name} are not UTF-8; save it as UTF-8.") from None
    except (pa.ArrowException, OSError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).strip().split("\n")[0][:300]
        raise DataError(f"The file {path.name} cannot be read: {reason.rstrip('.')}.") from error
    _check_names(path.name, table.column_names, head)
    return table


def _check_names(file: str, names: list[str], head: bytes) -> None:
    if len(names) == 1 and b"|" in head.split(b"\n")[0]:
        raise DataError(
            f"The file {file} has one column only: commas, semicolons or tabs must separate its values; save it so."
        )
    for position, name in enumerate(names, 1):
        if not name:
            raise DataError(
                f"Column {position} of {file} has no name; give it one, or leave it out (pandas writes its index so,"
                " unless index=False)."
            )
        if len(name) > MAX_NAME or not name.isprintable():
            raise DataError(
                f"The name of column {position} of {file}, {name[:40]!r}, cannot be used: a name has at most"
                f" {MAX_NAME} printable characters; rename it."
            )


def kind_of(column: pa.ChunkedArray) -> Kind:
    """Return what a column holds."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    tests: tuple[tuple[Kind, Sequence[Any]], ...] = (
        ("integer", (pa.types.is_integer,)),
        ("float", (pa.types.is_floating, pa.types.is_decimal)),
        ("boolean", (pa.types.is_boolean,)),
        ("text", (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)),
        ("date", (pa.types.is_temporal,)),
        ("empty", (pa.types.is_null,)),
        ("nested", (pa.types.is_nested,)),
    )
    return next((name for name, checks in tests if any(check(kind) for check in checks)), "other")


def summarise(table: pa.Table) -> list[ColumnSummary]:
    """Return what each column holds, in the file's order."""
    return [_summary(name, table.column(name)) for name in table.column_names]


def _summary(name: str, column: pa.ChunkedArray) -> ColumnSummary:
    kind = kind_of(column)
    numbers = kind in _FEATURE_KINDS
    values = _numbers(column) if numbers else np.empty(0)
    missing = int(np.isnan(values).sum()) if numbers else column.null_count
    present = len(values) > missing
    bounds = (float(np.nanmin(values)), float(np.nanmax(values))) if present else (None, None)
    return ColumnSummary(name, kind, numbers and present, missing, *bounds)


def preview(table: pa.Table) -> list[list[Any]]:
    """Return the first rows, a list for each, as values of JSON."""
    rows = table.slice(0, PREVIEW_ROWS).to_pydict()
    return [[_plain(rows[name][index]) for name in rows] for index in range(min(PREVIEW_ROWS, len(table)))]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return str(value)[:MAX_NAME]


def make_dataset(
    columns: dict[str, pa.ChunkedArray],
    name: str,
    target: str | None,
    ignore: Sequence[str] = (),
    units: Mapping[str, Any] | None = None,
) -> Dataset:
    """Return the data set with `target` as classes and every other column that is not ignored as a feature.

    Rows without a class are left out. Booleans are read as 1 and 0. Missing numbers are NaN. The columns are removed
    from `columns` one by one, so that memory never has a large table twice.

    Raises:
        DataError: a column does not exist or cannot be used; every such column is named.
    """
    names = list(columns)
    if target is None:
        raise DataError(f"Name the column to predict (--target); there are {listed(names)}.")
    for wanted, what in [(target, "target"), *((column, "ignored") for column in ignore)]:
        if wanted not in names:
            raise DataError(f"There is no column {wanted} ({what}); there are {listed(names)}.")
    if target in ignore:
        raise DataError(f"Column {target} is to be predicted and cannot be ignored as well.")
    features = [column for column in names if column != target and column not in ignore]
    kinds = {column: kind_of(columns[column]) for column in features}
    n_rows = len(columns[target])
    labels, classes, kept = _labels(columns[target], target)
    problems = _unusable(kinds) + _reserved(features, classes)
    if problems:
        raise DataError(*problems)
    given = _units(units or {}, features)
    warnings = []
    if len(labels) < n_rows:
        warnings.append(f"{n_rows - len(labels):,} of {n_rows:,} rows have no {target}: they are left out.")
    booleans = [column for column in features if kinds[column] == "boolean"]
    if booleans:
        warnings.append(
            f"{columns_named(booleans, 'holds', 'hold')} true and false: they are read as 1 and 0, and predictions"
            " have to send 1 or 0, too."
        )
    X = np.empty((len(labels), len(features)), dtype=np.float64, order="F")
    for index, column in enumerate(features):
        values = _numbers(columns.pop(column))
        X[:, index] = values if kept is None else values[kept]
    # Arrow keeps freed memory for its next table, and there will be none.
    pa.default_memory_pool().release_unused()
    return Dataset(
        name=name,
        columns=tuple(
            Column(column, given.get(column), "float" if kinds[column] == "float" else "integer") for column in features
        ),
        classes=classes,
        X=X,
        y=labels,
        target=target,
        warnings=tuple(warnings),
    )


def _reserved(features: Sequence[str], classes: Sequence[str]) -> list[str]:
    # The API would reject every file that has such a feature.
    added = {"prediction", "class_name", "error", *(f"probability_{name}" for name in classes)}
    names = [name for name in features if name in added]
    return [f"{columns_named(names, 'has', 'have')} a name of a column of the predictions; rename it."] if names else []


def class_counts(table: pa.Table, target: str) -> dict[str, int]:
    """Return how many rows each class has.

    Raises:
        DataError: the column cannot be the target.
    """
    if target not in table.column_names:
        raise DataError(f"There is no column {target} (target); there are {listed(table.column_names)}.")
    labels, classes, _ = _labels(table.column(target), target)
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))


def _unusable(kinds: Mapping[str, Kind]) -> list[str]:
    """Return a sentence for each kind of column that cannot be a feature, with the columns' names."""
    problems = []
    for kind in dict.fromkeys(kinds.values()):
        names = [name for name in kinds if kinds[name] == kind]
        it = "it" if len(names) == 1 else "them"
        if kind == "empty":
            problems.append(
                f"{columns_named(names, 'has', 'have')} no value at all; ignore {it} (--ignore {names[0]})."
            )
        elif kind not in _FEATURE_KINDS:
            problems.append(
                f"{columns_named(names, 'holds', 'hold')} {_HOLDS[kind]}, which is not supported yet; turn {it} into"
                f" numbers, or ignore {it} (--ignore {names[0]})."
            )
    return problems


def _labels(
    column: pa.ChunkedArray, target: str
) -> tuple[NDArray[np.int64], tuple[str, ...], NDArray[np.bool_] | None]:
    """Return class indices, the classes' names, and which rows have a class (None: all)."""
    kind = kind_of(column)
    if kind == "empty":
        raise DataError(f"Column {target} has no value at all; choose another column to predict.")
    if kind not in _CLASS_KINDS:
        raise DataError(
            f"Column {target} holds {_HOLDS[kind]}, and classes are text or whole numbers; choose another column to"
            " predict."
        )
    if kind in ("integer", "float"):
        numbers = _numbers(column)
        if not np.isfinite(present := numbers[~np.isnan(numbers)]).all() or (present != np.round(present)).any():
            raise DataError(
                f"Column {target} holds numbers with fractions, and classes are text or whole numbers; choose another"
                " column, or replace its numbers with classes such as low and high."
            )
        # Two large whole numbers can be the same double.
        column = _decoded(column) if kind == "integer" else pa.chunked_array([_whole(numbers)])
    else:
        column = column.cast(pa.string())
        column = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
    values = pc.unique(column.drop_null()).sort()
    if len(values) > MAX_CLASSES:
        raise DataError(
            f"Column {target} has {len(values):,} different values, and a model has at most {MAX_CLASSES:,} classes;"
            " choose another column, or group its values."
        )
    classes = tuple(str(value) for value in values.to_pylist())
    too_long = next((name for name in classes if len(name) > MAX_NAME), None)
    if too_long:
        raise DataError(
            f"Column {target} has the class {too_long[:40]!r}..., and a class's name has at most {MAX_NAME}"
            " characters; shorten it."
        )
    unprintable = next((name for name in classes if not name.isprintable()), None)
    if unprintable:
        raise DataError(
            f"Column {target} has the class {unprintable!a}, and a class's name is printable characters, without a"
            " line break; rename it."
        )
    indices = pc.index_in(column, values)
    kept = None
    if indices.null_count:
        kept = ~indices.is_null().to_numpy().astype(bool)
        indices = indices.drop_null()
    return indices.to_numpy().astype(np.int64), classes, kept


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _whole(numbers: NDArray[np.float64]) -> pa.Array:
    return pa.array(numbers, from_pandas=True).cast(pa.int64())


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return the column's values, NaN for a missing one."""
    column = _decoded(column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    column = column.cast(pa.float64(), safe=False)
    values: NDArray[np.float64] = (column.fill_null(np.nan) if column.null_count else column).to_numpy()
    return values


def _units(units: Mapping[str, Any], features: Sequence[str]) -> dict[str, str]:
    given = {}
    for name, unit in units.items():
        if name not in features:
            raise DataError(f"The units name {name}, which is not a feature; there are {listed(features)}.")
        if not isinstance(unit, str) or not unit.strip() or len(unit) > MAX_NAME:
            raise DataError(f'The unit of {name} must be text, such as {name} = "cm".')
        given[name] = unit
    return given


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names as a list in a sentence, the first of many."""
    shown = [*names[:most], f"{len(names) - most:,} more"] if len(names) > most + 1 else list(names)
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown) or "none"


def columns_named(names: Sequence[str], one: str, many: str) -> str:
    """Return the start of a sentence about columns: "Column a has", "Columns a and b have"."""
    return f"Column {names[0]} {one}" if len(names) == 1 else f"Columns {listed(names)} {many}"
