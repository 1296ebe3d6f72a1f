"""CSV: a header row, then rows of text; UTF-8, quotes doubled inside quotes (RFC 4180)."""

import contextlib
import csv
import io
import itertools
from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from table_io.errors import TableFormatError
from table_io.names import clean_names

# Bytes that are parsed at a time, and the most that a header or a row may have.
BLOCK_BYTES = 256 * 1024
# Ragged rows are kept in memory until the next row that is not.
MAX_RAGGED_ROWS = 100_000
_DELIMITERS = ",;\t"


class CsvTable:
    """Every cell as the text that it is, so that what is passed through comes back unchanged: "007" stays "007".

    A row is ragged if it has more or fewer cells than the header. It is an error, or with keep_ragged it stays in its
    place: missing cells are empty and surplus ones are left out. A batch with such rows has one more column than the
    schema, of text: what is wrong with the row, else null.
    """

    is_text = True

    def __init__(self, file: IO[bytes], *, block_bytes: int = BLOCK_BYTES, keep_ragged: bool = False) -> None:
        """Read the header; block_bytes is the most that a row may have.

        Raises:
            TableFormatError: it cannot be read.
        """
        self._file = file
        self._block_bytes = block_bytes
        self._keep_ragged = keep_ragged
        self._header, self.delimiter = _read_header(file, block_bytes)
        self.schema = pa.schema([(name, pa.string()) for name in clean_names(self._header)])
        _check_quotes(file)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, from the first.

        Raises:
            TableFormatError: a row is ragged or too long, or not UTF-8.
        """
        self._file.seek(0)
        ragged: list[arrow_csv.InvalidRow] = []

        def handle(row: arrow_csv.InvalidRow) -> str:
            ragged.append(row)
            return "skip" if self._keep_ragged and len(ragged) <= MAX_RAGGED_ROWS else "error"

        first_row = 1
        try:
            for batch in self._open(handle):
                if self._header != self.schema.names:
                    batch = pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
                # Arrow reads ahead: without keep_ragged these are rows of the next block, which fails then.
                if ragged and self._keep_ragged:
                    batch = self._with_ragged(batch, ragged, first_row)
                first_row += batch.num_rows
                yield batch
        except pa.ArrowInvalid as error:
            # Arrow's words for a header without a line end.
            if "Empty CSV file or block" not in str(error):
                raise _format_error(error, ragged, self._block_bytes) from None
        if ragged:
            yield self._with_ragged(pa.RecordBatch.from_pylist([], schema=self.schema), ragged, first_row)

    def _open(self, handle: object) -> arrow_csv.CSVStreamingReader:
        reader = arrow_csv.open_csv(
            pa.PythonFile(self._file, mode="r"),
            # With several threads, ragged rows would have no numbers.
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=self._block_bytes),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=handle
            ),
            convert_options=arrow_csv.ConvertOptions(default_column_type=pa.string(), strings_can_be_null=False),
        )
        if reader.schema.names != self._header:
            raise TableFormatError("The header row cannot be read; put quotes around names with special characters.")
        return reader

    def _with_ragged(self, batch: pa.RecordBatch, ragged: list[arrow_csv.InvalidRow], first_row: int) -> pa.RecordBatch:
        """Put the ragged rows that belong into the batch into their places, and take them from the list."""
        width = len(self._header)
        places: list[int] = []
        for row in ragged:
            place = _number(row) - first_row
            if place > batch.num_rows + len(places):
                break
            places.append(place)
        rows = [_cells(row.text, self.delimiter, width) for row in ragged[: len(places)]]
        messages = [_message(row) for row in ragged[: len(places)]]
        del ragged[: len(places)]
        count = batch.num_rows + len(places)
        order = np.empty(count, np.int64)
        is_ragged = np.zeros(count, bool)
        is_ragged[places] = True
        order[~is_ragged] = np.arange(batch.num_rows)
        order[is_ragged] = np.arange(batch.num_rows, count)
        columns = [*batch.columns, pa.nulls(batch.num_rows, pa.string())]
        added = [*zip(*rows, strict=True), messages] if rows else [[]] * (width + 1)
        return pa.RecordBatch.from_arrays(
            [
                pa.concat_arrays([column, pa.array(cells, pa.string())]).take(pa.array(order))
                for column, cells in zip(columns, added, strict=True)
            ],
            schema=self.schema.append(pa.field("", pa.string())),
        )


def _read_header(file: IO[bytes], block_bytes: int) -> tuple[list[str], str]:
    """Return the names and the delimiter."""
    file.seek(0)
    start = file.read(block_bytes)
    try:
        text = start.decode("utf-8-sig", errors="strict" if len(start) < block_bytes else "ignore")
        # A name in quotes may have any of them.
        rows = [_first_row(text, delimiter) for delimiter in _DELIMITERS]
    except UnicodeDecodeError as error:
        raise TableFormatError(f"The CSV is not UTF-8 at byte {error.start}; save it as UTF-8.") from None
    except csv.Error as error:
        raise TableFormatError(f"The header row cannot be read: {error}.") from None
    if not text.strip():
        raise TableFormatError("The CSV is empty; its first line must name the columns.")
    if len(start) == block_bytes and not text.rstrip("\r\n").count("\n"):
        raise TableFormatError(f"The header row is longer than {block_bytes} bytes.")
    found = zip(rows, _DELIMITERS, strict=True)
    return next(((names, delimiter) for names, delimiter in found if len(names) > 1), (rows[0], ","))


def _first_row(text: str, delimiter: str) -> list[str]:
    return next((row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row), [])


def _check_quotes(file: IO[bytes]) -> None:
    """Reject a quote that is never closed: Arrow reads all rows behind it as one cell, without an error."""
    file.seek(0)
    count = sum(piece.count(b'"') for piece in iter(lambda: file.read(BLOCK_BYTES), b""))
    if count % 2:
        raise TableFormatError(
            'A quote (") is never closed; inside a cell, write it twice and put quotes around the cell.'
        )


def _number(row: arrow_csv.InvalidRow) -> int:
    # Arrow counts the header as the first row.
    return int(row.number) - 1


def _message(row: arrow_csv.InvalidRow) -> str:
    return f"has {row.actual_columns} cells, not {row.expected_columns}"


def _cells(text: str, delimiter: str, width: int) -> list[str]:
    cells: list[str] = []
    # A cell may be longer than that reader allows.
    with contextlib.suppress(csv.Error):
        cells = next(csv.reader([text], delimiter=delimiter), [])
    return list(itertools.islice(itertools.chain(cells, itertools.repeat("")), width))


def _format_error(error: pa.ArrowInvalid, ragged: list[arrow_csv.InvalidRow], block_bytes: int) -> TableFormatError:
    reason = str(error).splitlines()[0]
    if len(ragged) > MAX_RAGGED_ROWS:
        return TableFormatError(f"More than {MAX_RAGGED_ROWS} rows one after another have too many or too few cells.")
    if ragged:
        return TableFormatError(faults=[(f"row {_number(ragged[0])}", _message(ragged[0]))])
    # A ragged row that is not UTF-8 does not reach the handler.
    if "UTF8" in reason or "Expected" in reason:
        return TableFormatError("The CSV is not UTF-8; save it as UTF-8.")
    if "straddling" in reason:
        return TableFormatError(f'A row is longer than {block_bytes} bytes; is a quote (") not closed?')
    return TableFormatError(f"The CSV cannot be read: {reason[:200]}.")
