"""CSV and Parquet files to train from: columns of numbers become features, one column holds the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model_training.data.datasets import Column, DataError, Dataset

PREVIEW_ROWS = 5
MAX_COLUMNS = 10_000
MAX_CLASSES = 1000
# Characters of the name of a column, a class or a table.
MAX_NAME = 128
# Large enough that the first block nearly always tells a column's type.
_BLOCK_BYTES = 4 * 1024**2

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
    """A column of a table as it was found; usable: its values can be a feature's. Bounds are None without numbers."""

    name: str
    dtype: Kind
    usable: bool
    missing: int
    minimum: float | None
    maximum: float | None


def read_table(path: Path) -> pa.Table:
    """A CSV file (UTF-8, commas, a header row) or a Parquet file, told apart by their first bytes.

    Raises:
        DataError: it cannot be read, or its columns' names cannot be used.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise DataError(f"The file {path} cannot be read: {error.strerror}.") from error
    if not head.strip():
        raise DataError(f"The file {path.name} is empty; it has to begin with a row of column names.")
    try:
        if head.startswith(b"PAR1"):
            table = pq.ParquetFile(path).read()
        elif b"\0" in head or head.startswith(b"\x1f\x8b"):
            raise DataError(
                f"The file {path.name} is neither CSV (UTF-8 text, not compressed) nor Parquet; save it as one."
            )
        else:
            table = _read_csv(path)
        names = table.column_names
    except UnicodeDecodeError:
        raise DataError(f"The names of the columns of {path.name} are not UTF-8; save it as UTF-8.") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().split("\n")[0][:300]
        raise DataError(
            f"The file {path.name} cannot be read as a table: {reason}; mend that and try again."
        ) from error
    _check_names(path.name, names, head)
    return table


def _read_csv(path: Path) -> pa.Table:
    # Not by its name: a file that is called .gz and is none would be unpacked.
    convert = pa_csv.ConvertOptions(strings_can_be_null=True)
    read = pa_csv.ReadOptions(block_size=_BLOCK_BYTES)
    try:
        with pa.OSFile(str(path)) as file, pa_csv.open_csv(file, read_options=read, convert_options=convert) as reader:
            return reader.read_all()
    except pa.ArrowInvalid:
        # The types are those of the first block. Where a later one disagrees, the whole file is looked at, which
        # keeps its text in memory.
        with pa.OSFile(str(path)) as file:
            return pa_csv.read_csv(file, read_options=read, convert_options=convert)


def _check_names(file: str, names: list[str], head: bytes) -> None:
    if len(names) == 1 and any(separator in head.split(b"\n")[0] for separator in (b";", b"\t", b"|")):
        raise DataError(
            f"The file {file} has one column only: its values are not separated by commas; save it with commas."
        )
    if len(names) > MAX_COLUMNS:
        raise DataError(
            f"The file {file} has {len(names):,} columns, and at most {MAX_COLUMNS:,} are taken; leave some out."
        )
    for position, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(
                f"Column {position} of {file} has no name; give it one, or leave it out (pandas writes its index so,"
                " unless index=False)."
            )
        if len(name) > MAX_NAME or not name.isprintable() or name != name.strip():
            raise DataError(
                f"The name of column {position} of {file}, {name[:40]!r}, cannot be used: at most {MAX_NAME} printable"
                " characters, and no space at either end; rename it."
            )
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"The file {file} has two columns named {twice[0]}; rename or remove one.")


def kind_of(column: pa.ChunkedArray) -> Kind:
    """What a column holds."""
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
    """What each column holds, in the file's order."""
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
    """The first rows, a list a row, in values that JSON has."""
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
    """The columns with `target` as classes and every other one that is not ignored as a feature.

    Rows without a class are left out. Booleans are read as 1 and 0. Missing numbers are NaN. The columns are taken out
    of `columns` one by one, so that a large table does not lie in memory twice.

    Raises:
        DataError: there is no such column, or one that cannot be used; every such column is named.
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
    problems = _refusals(kinds) + _reserved(features, classes)
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
    # Arrow keeps what it frees for its next table, and there is none.
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
    # The API would refuse every file to score that has the features.
    added = {"prediction", "class_name", *(f"probability_{name}" for name in classes)}
    names = [name for name in features if name in added]
    return (
        [f"{columns_named(names, 'has', 'have')} a name that predictions give to theirs; rename it."] if names else []
    )


def class_counts(table: pa.Table, target: str) -> dict[str, int]:
    """How many rows each class has.

    Raises:
        DataError: the column cannot be one of classes.
    """
    if target not in table.column_names:
        raise DataError(f"There is no column {target} (target); there are {listed(table.column_names)}.")
    labels, classes, _ = _labels(table.column(target), target)
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))


def _refusals(kinds: Mapping[str, Kind]) -> list[str]:
    """A sentence for each kind of column that cannot be a feature, naming the columns."""
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
    """Class indices, the classes' names, and which rows have a class (None: all)."""
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
        # A whole number that a double does not hold would merge with its neighbour.
        column = _decoded(column) if kind == "integer" else pa.chunked_array([_whole(numbers)])
    else:
        column = column.cast(pa.string())
        column = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
    values = pc.unique(column.drop_null()).sort()
    if len(values) > MAX_CLASSES:
        raise DataError(
            f"Column {target} has {len(values):,} different values, and a model tells apart at most {MAX_CLASSES:,}"
            " classes; choose another column, or group its values."
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
    """The column's values, NaN where one is missing."""
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
            raise DataError(f"The units name {name}, which is no feature; there are {listed(features)}.")
        if not isinstance(unit, str) or not unit.strip() or len(unit) > MAX_NAME:
            raise DataError(f'The unit of {name} must be text, such as {name} = "cm".')
        given[name] = unit
    return given


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names as a sentence has them, the first few of many."""
    shown = [*names[:most], f"{len(names) - most:,} more"] if len(names) > most + 1 else list(names)
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown) or "none"


def columns_named(names: Sequence[str], one: str, many: str) -> str:
    """The beginning of a sentence about columns: "Column a has", "Columns a and b have"."""
    return f"Column {names[0]} {one}" if len(names) == 1 else f"Columns {listed(names)} {many}"
