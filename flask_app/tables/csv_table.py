"""CSV: a header row, then rows of text; UTF-8, commas, quotes doubled inside quotes (RFC 4180)."""

import csv
import io
from collections.abc import Iterator
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from flask_app.tables.columns import check_width
from http_service.problems import InvalidFields, Problem

# Bytes that are parsed at a time, and the most that a header or a row may have.
_BLOCK = 256 * 1024
_SPECIAL = '[",\r\n]'


class CsvTable:
    """Every cell as the text that it is, so that what is passed on comes back unchanged: "007" stays "007"."""

    text = True

    def __init__(self, file: IO[bytes], _max_bytes: int, _folder: str) -> None:
        """Read the header.

        Raises:
            Problem: 422 it cannot be read.
        """
        self._file = file
        names = _header(file)
        check_width(len(names))
        self.schema = pa.schema([(name, pa.string()) for name in names])
        _check_quotes(file)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, from the first.

        Raises:
            Problem: 422 a row has too many or too few cells, or is not UTF-8.
        """
        self._file.seek(0)
        ragged: list[arrow_csv.InvalidRow] = []

        def refuse(row: arrow_csv.InvalidRow) -> str:
            ragged.append(row)
            return "error"

        try:
            reader = arrow_csv.open_csv(
                pa.PythonFile(self._file, mode="r"),
                read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK),
                parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
                convert_options=arrow_csv.ConvertOptions(default_column_type=pa.string(), strings_can_be_null=False),
            )
            if reader.schema.names != self.schema.names:
                raise Problem(422, "The header row cannot be read; put quotes around names with special characters.")
            yield from reader
        except pa.ArrowInvalid as error:
            if ragged:
                row = ragged[0]
                # Arrow counts the header as the first row.
                where, counted = f"row {row.number - 1}", f"{row.actual_columns} cells, not {row.expected_columns}"
                raise InvalidFields([{"field": where, "message": f"has {counted}"}]) from None
            # Arrow's words for a header without a line end.
            if "Empty CSV file or block" not in str(error):
                raise _refusal(error) from None


class CsvWriter:
    """Rows as CSV: quotes only where they are needed, lines end in a newline."""

    def __init__(self, schema: pa.Schema) -> None:
        """Begin a table.

        Raises:
            InvalidFields: a column cannot be written as text.
        """
        self._schema = schema
        binary = [
            field.name
            for field in schema
            if any(is_kind(_value_type(field.type)) for is_kind in (pa.types.is_binary, pa.types.is_large_binary))
            or pa.types.is_fixed_size_binary(_value_type(field.type))
        ]
        if binary:
            raise InvalidFields(
                [{"field": name, "message": "holds bytes, which CSV cannot; leave it out"} for name in binary]
            )

    def head(self) -> bytes:
        """The header row."""
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(self._schema.names)
        return line.getvalue().encode()

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Some rows."""
        cells = [_as_text(column) for column in batch.columns]
        lines = pc.binary_join_element_wise(pc.binary_join_element_wise(*cells, ","), "", "\n")
        offsets = pa.Array.from_buffers(pa.int32(), len(lines) + 1, [None, lines.buffers()[1]], offset=lines.offset)
        return bytes(memoryview(lines.buffers()[2])[offsets[0].as_py() : offsets[-1].as_py()])

    def tail(self) -> bytes:
        """Nothing: CSV has no end mark."""
        return b""


def _header(file: IO[bytes]) -> list[str]:
    file.seek(0)
    start = file.read(_BLOCK)
    try:
        text = start.decode("utf-8-sig", errors="strict" if len(start) < _BLOCK else "ignore")
        names = next((row for row in csv.reader(io.StringIO(text, newline="")) if row), None)
    except UnicodeDecodeError as error:
        raise Problem(422, f"The CSV is not UTF-8 at byte {error.start}.") from None
    except csv.Error as error:
        raise Problem(422, f"The header row cannot be read: {error}.") from None
    if names is None:
        raise Problem(422, "The CSV is empty; its first line must name the columns.")
    if len(start) == _BLOCK and not text.rstrip("\r\n").count("\n"):
        raise Problem(422, f"The header row is longer than {_BLOCK} bytes.")
    return names


def _check_quotes(file: IO[bytes]) -> None:
    """A quote that is never closed swallows all rows behind it; Arrow reads that without complaint."""
    file.seek(0)
    count = 0
    while piece := file.read(_BLOCK):
        count += piece.count(b'"')
    if count % 2:
        raise Problem(422, 'A quote (") is never closed; inside a cell, write it twice and put quotes around the cell.')


def _refusal(error: pa.ArrowInvalid) -> Problem:
    reason = str(error).splitlines()[0]
    if "UTF8" in reason:
        return Problem(422, "The CSV is not UTF-8; save it as UTF-8 and send it again.")
    if "straddling" in reason:
        return Problem(422, f'A row is longer than {_BLOCK} bytes; is a quote (") not closed?')
    return Problem(422, f"The CSV cannot be read: {reason[:200]}.")


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _as_text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if column.type != pa.string():
        column = column.cast(pa.string())
    if column.null_count:
        column = column.fill_null("")
    if is_text:
        special = pc.match_substring_regex(column, _SPECIAL)
        if pc.any(special).as_py():
            doubled = pc.replace_substring(column, '"', '""')
            column = pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), column)
    return column
