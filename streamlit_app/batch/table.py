"""A visitor's file as a table, its columns matched with the model's features, and its bad cells named."""

import io
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from streamlit_app.clients.card import CardView, FeatureView

# What one visitor may hold in this process's memory; larger files go to the API itself.
MOST_ROWS = 1_000_000
MOST_CELLS = 20_000_000
LARGEST_FLOAT32 = 3.4028234663852886e38
PARQUET_SECONDS = 60
PARQUET_MAGIC = b"PAR1"
# The table of errors is for people; the count is complete.
MOST_ERRORS = 1000
LONGEST_CELL = 40


class TableError(ValueError):
    """The file is none that can be scored; the text is a sentence with a next step."""


@dataclass(frozen=True)
class CellError:
    """What is wrong with one cell; rows count from 1, which is the first below the header."""

    row: int
    column: str
    message: str


@dataclass(frozen=True)
class Checked:
    """The rows of a table that can be scored.

    `features` has one column a feature, in the card's order and by its name, of the rows `rows` (from 0) of the table.
    `error_count` counts all bad cells; `errors` are the first of them.
    """

    features: pa.Table
    rows: NDArray[np.int64]
    errors: list[CellError]
    error_count: int


def read_table(data: bytes) -> tuple[pa.Table, list[CellError]]:
    """CSV (all cells as text) or Parquet, by its first bytes; with the lines that are no rows.

    Raises:
        TableError: it is neither, is empty, or is larger than a page should hold.
    """
    if not data.strip():
        raise TableError("The file is empty: send a header row and at least one row of values.")
    table, errors = (_read_parquet(data), []) if data.startswith(PARQUET_MAGIC) else _read_csv(data)
    if not table.num_rows and not errors:
        raise TableError("The file has a header and no rows: add at least one row of values.")
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise TableError(f"The column {min(twice)} stands there twice: rename or remove one of the two.")
    return table, errors


def _read_csv(data: bytes) -> tuple[pa.Table, list[CellError]]:
    errors: list[CellError] = []

    def bad_line(line: csv.InvalidRow) -> str:
        message = f"has {line.actual_columns} cells instead of {line.expected_columns}; the row was left out"
        errors.append(CellError(max(0, (line.number or 0) - 1), "", message))
        return "skip"

    try:
        reader = csv.open_csv(
            io.BytesIO(data),
            # One thread: only then lines have numbers, and one visitor does not take all cores.
            read_options=csv.ReadOptions(use_threads=False, block_size=1 << 20),
            parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=bad_line),
            # Types are guessed from the first block otherwise, and 007 would become 7.
            convert_options=csv.ConvertOptions(
                column_types=_all_text(data), strings_can_be_null=False, check_utf8=True
            ),
        )
        batches = []
        for batch in reader:
            batches.append(batch)
            _check_size(sum(part.num_rows for part in batches), batch.num_columns)
        return pa.Table.from_batches(batches, reader.schema), errors
    except pa.ArrowInvalid as error:
        reason = str(error).split(": ", 1)[-1].split("\n")[0][:200]
        raise TableError(
            f"This CSV file cannot be read ({reason}): save it in UTF-8, with commas and a header row."
        ) from None


def _all_text(data: bytes) -> dict[str, pa.DataType]:
    head = csv.open_csv(
        io.BytesIO(data[: 1 << 20].rsplit(b"\n", 1)[0] + b"\n"),
        read_options=csv.ReadOptions(use_threads=False, block_size=1 << 20),
        parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda _: "skip"),
    )
    return dict.fromkeys(head.schema.names, pa.string())


def _read_parquet(data: bytes) -> pa.Table:
    # pyarrow ends its whole process on some damaged files, and with it the sessions of everybody here.
    program = Path(__file__).with_name("unpack_parquet.py")
    try:
        done = subprocess.run(
            [sys.executable, str(program), str(MOST_ROWS), str(MOST_CELLS)],
            input=data,
            capture_output=True,
            timeout=PARQUET_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TableError("The Parquet file takes too long to unpack: send it in parts, or as CSV.") from None
    if done.returncode == 3:
        raise _too_large()
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().split("\n")[-1][:200] if done.returncode == 2 else ""
        raise TableError(
            f"This Parquet file cannot be read{f' ({reason})' if reason else ''}: write it anew, or send CSV."
        )
    return pa.ipc.open_stream(done.stdout).read_all()


def _check_size(rows: int, columns: int) -> None:
    if rows > MOST_ROWS or rows * columns > MOST_CELLS:
        raise _too_large()


def _too_large() -> TableError:
    return TableError(
        f"The file has more than {MOST_ROWS:,} rows or {MOST_CELLS:,} cells, which is more than this page holds: "
        "send it in parts, or straight to POST /predict of the API."
    )


def match_columns(names: list[str], card: CardView) -> dict[str, str | None]:
    """The column of the table for each feature: the one of its name, else one that differs in case and signs only."""
    by_plain: dict[str, list[str]] = {}
    for name in names:
        by_plain.setdefault(_plain(name), []).append(name)
    matches: dict[str, str | None] = {}
    for feature in card.features:
        # "Petal length (cm)" is petal_length.
        forms = (_plain(feature.name), _plain(f"{feature.name} {feature.unit}"))
        alike = [name for form in dict.fromkeys(forms) for name in by_plain.get(form, [])]
        matches[feature.name] = feature.name if feature.name in names else alike[0] if len(alike) == 1 else None
    return matches


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def check_table(table: pa.Table, card: CardView, matches: dict[str, str]) -> Checked:
    """The rows whose features are all numbers that the model takes, and the cells that keep the others out."""
    bad = np.zeros(table.num_rows, dtype=bool)
    columns, found, count = [], [], 0
    for feature in card.features:
        column = table.column(matches[feature.name])
        values, faults = _numbers(column, feature)
        bad |= faults
        count += int(faults.sum())
        columns.append(values)
        for row in np.flatnonzero(faults)[:MOST_ERRORS].tolist():
            found.append(CellError(row + 1, matches[feature.name], _fault(column[row].as_py(), feature)))
    rows = np.flatnonzero(~bad)
    names = [feature.name for feature in card.features]
    arrays = [
        pa.array(values[rows].astype(np.int64) if feature.integer else values[rows])
        for feature, values in zip(card.features, columns, strict=True)
    ]
    found.sort(key=lambda error: error.row)
    return Checked(pa.table(arrays, names=names), rows, found[:MOST_ERRORS], count)


def _numbers(column: pa.ChunkedArray, feature: FeatureView) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The column as floats, and where it has none that the model takes."""
    import pandas as pd

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # Underscores and words such as "nan" are numbers for Python, and for no API.
        text = pc.utf8_trim_whitespace(column)
        plain = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
        text = pc.if_else(pc.fill_null(plain, False), text, None)
        values = pd.to_numeric(text.to_pandas(), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    else:
        values = np.full(len(column), np.nan)
    with np.errstate(invalid="ignore"):
        faults = ~(np.abs(values) <= LARGEST_FLOAT32)
        if feature.integer:
            faults |= values != np.floor(values)
    return values, faults


def _fault(cell: object, feature: FeatureView) -> str:
    text = "" if cell is None else str(cell).strip()
    if not text:
        return "is empty"
    shown = text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
    try:
        value = float(text)
    except ValueError:
        return f"“{shown}” is not a number"
    if isinstance(cell, bool) or not np.isfinite(value) or "_" in text:
        return f"“{shown}” is not a number"
    if abs(value) > LARGEST_FLOAT32:
        return f"{shown} is beyond 32-bit floating point"
    return f"{shown} is not a whole number" if feature.integer else f"“{shown}” is not a number"
