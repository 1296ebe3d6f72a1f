"""Read a table as one of three kinds, or a whole one into memory with the types of its cells."""

from collections.abc import Iterator
from typing import IO, Protocol

import pyarrow as pa

from table_io.arrow_table import ArrowTable
from table_io.cells import typed, without_gaps
from table_io.csv_table import CsvTable
from table_io.kinds import Kind
from table_io.parquet_table import ParquetTable


class Table(Protocol):
    """A table that can be read any number of times, a batch at a time; with is_text every cell is text."""

    is_text: bool
    schema: pa.Schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows from the first."""


def open_table(
    file: IO[bytes], kind: Kind, *, max_bytes: int, folder: str | None = None, keep_ragged: bool = False
) -> Table:
    """Open a real file; a Parquet file unpacks to at most max_bytes in the folder.

    Raises:
        TableTooLargeError: it unpacks to more.
        TableFormatError: it cannot be read.
        OSError: the folder cannot be written, or has no room.
    """
    if kind == "csv":
        return CsvTable(file, keep_ragged=keep_ragged)
    return ArrowTable(file) if kind == "arrow" else ParquetTable(file, max_bytes, folder)


def read_typed(table: CsvTable) -> pa.Table:
    """Return all rows, each column as what its cells are (`cells.typed`), in one chunk a batch.

    A column whose batches hold different kinds is text, but for whole numbers among other numbers, and dates among
    times.

    Raises:
        TableFormatError: a row cannot be read.
    """
    mixed: set[int] = set()
    while True:
        columns: list[list[pa.Array]] = [[] for _ in table.schema]
        for batch in table.batches():
            for index, column in enumerate(batch.columns):
                columns[index].append(without_gaps(column) if index in mixed else typed(column))
        kinds = [_common_type(chunks) for chunks in columns]
        found = {index for index, kind in enumerate(kinds) if kind is None}
        if not found:
            break
        # Their text is gone: read it again.
        mixed |= found
    arrays = [
        pa.chunked_array([chunk.cast(kind, safe=False) for chunk in chunks], kind)
        for chunks, kind in zip(columns, kinds, strict=True)
    ]
    return pa.Table.from_arrays(arrays, names=table.schema.names)


def _common_type(chunks: list[pa.Array]) -> pa.DataType | None:
    found = {chunk.type for chunk in chunks} - {pa.null()}
    for narrow, wide in ((pa.int64(), pa.float64()), (pa.date32(), pa.timestamp("us"))):
        if found == {narrow, wide}:
            return wide
    return found.pop() if len(found) == 1 else None if found else pa.null()
