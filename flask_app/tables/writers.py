"""Write scored rows as CSV, as an Arrow stream or as Parquet, a piece at a time."""

import csv
import io
import re
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from http_service.problems import InvalidFields
from table_io.cells import is_text
from table_io.kinds import Kind

# A row group is kept in memory until it is written.
_GROUP_ROWS = 131_072
_GROUP_BYTES = 16 * 1024 * 1024


class TableWriter(Protocol):
    """Turns a table into bytes: `start`, then `rows` any number of times, then `end`."""

    def start(self) -> bytes:
        """Return what precedes the rows."""

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Return some rows, or nothing while they are collected."""

    def end(self) -> bytes:
        """Return what is left, with the end mark."""


def make_writer(kind: Kind, schema: pa.Schema, delimiter: str) -> TableWriter:
    """Return the writer of a kind; the delimiter is CSV's.

    Raises:
        InvalidFields: CSV cannot hold a column's values.
    """
    if kind == "csv":
        return _CsvWriter(schema, delimiter)
    return _ArrowWriter(schema) if kind == "arrow" else _ParquetWriter(schema)


class _CsvWriter:
    """Quotes only where they are needed; lines end in a newline."""

    def __init__(self, schema: pa.Schema, delimiter: str) -> None:
        self._schema = schema
        self._delimiter = delimiter
        self._special = f'[{re.escape(delimiter)}"\r\n]'
        faults = [(field.name, fault) for field in schema if (fault := _text_fault(_value_type(field.type)))]
        if faults:
            raise InvalidFields([{"field": name, "message": f"{fault}; leave it out"} for name, fault in faults])

    def start(self) -> bytes:
        line = io.StringIO()
        csv.writer(line, delimiter=self._delimiter, lineterminator="\n").writerow(self._schema.names)
        return line.getvalue().encode()

    def rows(self, batch: pa.RecordBatch) -> bytes:
        cells = [self._as_text(column) for column in batch.columns]
        lines = pc.binary_join_element_wise(pc.binary_join_element_wise(*cells, self._delimiter), "", "\n")
        offsets = pa.Array.from_buffers(pa.int32(), len(lines) + 1, [None, lines.buffers()[1]], offset=lines.offset)
        return bytes(memoryview(lines.buffers()[2])[offsets[0].as_py() : offsets[-1].as_py()])

    def end(self) -> bytes:
        return b""

    def _as_text(self, column: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        needs_quotes = is_text(column.type)
        if column.type != pa.string():
            column = column.cast(pa.string())
        if column.null_count:
            column = column.fill_null("")
        if needs_quotes:
            special = pc.match_substring_regex(column, self._special)
            if pc.any(special).as_py():
                doubled = pc.replace_substring(column, '"', '""')
                column = pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), column)
        return column


class _ArrowWriter:
    def __init__(self, schema: pa.Schema) -> None:
        self._sink = _Sink()
        self._writer = self._open(schema)

    def _open(self, schema: pa.Schema) -> Any:
        return pa.ipc.new_stream(self._sink, schema)

    def start(self) -> bytes:
        return self._sink.take()

    def rows(self, batch: pa.RecordBatch) -> bytes:
        self._writer.write_batch(batch)
        return self._sink.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._sink.take()


class _ParquetWriter(_ArrowWriter):
    def _open(self, schema: pa.Schema) -> Any:
        self._waiting: list[pa.RecordBatch] = []
        return parquet.ParquetWriter(self._sink, schema)

    def rows(self, batch: pa.RecordBatch) -> bytes:
        self._waiting.append(batch)
        rows = sum(waiting.num_rows for waiting in self._waiting)
        if rows >= _GROUP_ROWS or sum(waiting.nbytes for waiting in self._waiting) >= _GROUP_BYTES:
            self._write_group()
        return self._sink.take()

    def end(self) -> bytes:
        if self._waiting:
            self._write_group()
        return super().end()

    def _write_group(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._waiting), row_group_size=_GROUP_ROWS)
        self._waiting = []


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken; positions count from the start of the file."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _text_fault(kind: pa.DataType) -> str | None:
    types = pa.types
    if any(check(kind) for check in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)):
        return "holds bytes, which CSV cannot"
    try:
        # Arrow accepts any name of a time zone, and looks it up when it writes a time.
        pa.nulls(1, kind).cast(pa.string())
    except pa.ArrowException:
        return f"is of type {str(kind)[:100]}, which cannot be written as CSV"
    return None
