"""Check a whole table, then predict it piece by piece."""

from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flask_app.model.prediction import predict_matrix
from flask_app.model.served_model import ServedModel
from flask_app.tables.columns import find_columns
from flask_app.tables.writers import TableWriter, make_writer
from http_service.body import no_room
from http_service.problems import InvalidFields, Problem
from table_io.errors import TableFormatError, TableTooLargeError
from table_io.kinds import Kind
from table_io.reader import Table, open_table

# Arrow's own pool keeps what it once had; a worker that scored one large file would stay large.
pa.set_memory_pool(pa.system_memory_pool())

# Rows predicted at a time: about 10 ms of one core, after which other threads can run.
CHUNK_ROWS = 8_192
_CHUNK_BYTES = 8 * 1024 * 1024
_MAX_ROW_BYTES = 64 * 1024 * 1024
# Few bytes can expand to many: a dictionary's long text is repeated in each row that has it.
_MAX_GROWTH = 4
_ERROR = "error"


def score(
    served: ServedModel, file: IO[bytes], given: Kind, wanted: Kind, keep_errors: bool, max_bytes: int, folder: str
) -> Iterator[bytes]:
    """Yield the table with its predictions, in pieces of the wanted kind; folder: where Parquet is unpacked.

    With keep_errors a row that cannot be predicted comes back with the reason in the column `error`. The whole file is
    checked before this returns, and the client cannot cause a later failure. If the iterator fails all the same, the
    answer must be cut off, never ended.

    Raises:
        Problem: the file is damaged, or without keep_errors a cell is not a number that the model takes; it names row
            and column.
    """
    try:
        try:
            table = open_table(file, given, max_bytes=max_bytes, folder=folder, keep_ragged=keep_errors)
        except OSError as error:
            raise no_room(error) from error
        scorer = _Scorer(served, table, wanted, keep_errors)
        scorer.check(max_bytes)
    except TableTooLargeError as error:
        raise Problem(413, str(error)) from None
    except TableFormatError as error:
        if error.faults:
            raise InvalidFields([{"field": where, "message": message} for where, message in error.faults]) from None
        raise Problem(422, str(error)) from None
    return scorer.pieces()


class _Scorer:
    """One table on its way through the model."""

    def __init__(self, served: ServedModel, table: Table, wanted: Kind, keep_errors: bool) -> None:
        card = served.artifact.card
        self._served = served
        self._table = table
        self._keep_errors = keep_errors
        self._classes = pa.array(card.classes)
        # Text that is wanted as Arrow or Parquet comes back as the numbers that were read.
        self._as_numbers = table.is_text and wanted != "csv"
        shares = [(f"probability_{name}", pa.float32()) for name in card.classes]
        error = [(_ERROR, pa.string())] if keep_errors else []
        added = [("prediction", pa.int32()), ("class_name", pa.string()), *shares, *error]
        self._columns = find_columns(card.features, table.schema, table.is_text, [name for name, _ in added])
        fields = list(table.schema)
        for index in self._columns.indices if self._as_numbers else ():
            fields[index] = pa.field(fields[index].name, pa.float64())
        self._schema = pa.schema([*fields, *(pa.field(name, kind) for name, kind in added)], table.schema.metadata)
        self._writer: TableWriter = make_writer(wanted, self._schema, getattr(table, "delimiter", ","))

    def check(self, max_bytes: int) -> None:
        """Read the whole table once.

        Raises:
            TableFormatError: it is damaged.
            Problem: 413 it unpacks to too much, 422 a row cannot be predicted and errors are not kept.
        """
        row, bytes_read = 1, 0
        for chunk, size in _chunks(self._table):
            if not self._keep_errors:
                self._columns.check(chunk, row)
            row += chunk.num_rows
            bytes_read += size
            if bytes_read > _MAX_GROWTH * max_bytes:
                raise Problem(413, f"The table unpacks to more than {_MAX_GROWTH * max_bytes} bytes; send it in parts.")

    def pieces(self) -> Iterator[bytes]:
        """Read the table again, and yield the answer."""
        yield self._writer.start()
        for chunk, _ in _chunks(self._table):
            yield self._writer.rows(self._answer(chunk))
        yield self._writer.end()

    def _answer(self, chunk: pa.RecordBatch) -> pa.RecordBatch:
        matrix = self._columns.read(chunk)
        errors = self._errors(chunk, matrix) if self._keep_errors else None
        arrays = list(chunk.columns[: len(self._table.schema)])
        if self._as_numbers:
            for position, index in enumerate(self._columns.indices):
                numbers = np.ascontiguousarray(matrix[:, position])
                arrays[index] = pa.array(numbers, mask=np.isnan(numbers) if self._keep_errors else None)
        if errors is None or errors.null_count == len(errors):
            arrays += self._predictions(matrix)
        else:
            is_good = errors.is_null().to_numpy(zero_copy_only=False)
            # A null index gives a null.
            places = pa.array(np.cumsum(is_good) - 1, mask=~is_good)
            arrays += [column.take(places) for column in self._predictions(matrix[is_good])]
        if errors is not None:
            arrays.append(errors)
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _predictions(self, matrix: NDArray[np.float64]) -> list[pa.Array]:
        rows = np.ascontiguousarray(matrix, dtype=np.float32)
        empty = np.empty((0, len(self._classes)), np.float32)
        probabilities = predict_matrix(self._served, rows) if len(rows) else empty
        predictions = pa.array(probabilities.argmax(axis=1).astype(np.int32))
        shares = [pa.array(np.ascontiguousarray(column)) for column in probabilities.T]
        return [predictions, self._classes.take(predictions), *shares]

    def _errors(self, chunk: pa.RecordBatch, matrix: NDArray[np.float64]) -> pa.Array:
        errors = pa.array(self._columns.errors(chunk, matrix), pa.string())
        # What is wrong with a row of CSV itself.
        return pc.coalesce(chunk.columns[-1], errors) if chunk.num_columns > len(self._table.schema) else errors


def _chunks(table: Table) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield the table's rows in pieces of bounded length and size, with that size in bytes."""
    for batch in table.batches():
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            yield from _divided(batch.slice(start, CHUNK_ROWS))


def _divided(chunk: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, int]]:
    size = sum(_size(column) for column in chunk.columns)
    if size > _CHUNK_BYTES and chunk.num_rows > 1:
        half = chunk.num_rows // 2
        yield from _divided(chunk.slice(0, half))
        yield from _divided(chunk.slice(half))
    elif size > _MAX_ROW_BYTES:
        raise Problem(422, f"A row is larger than {_MAX_ROW_BYTES} bytes.")
    else:
        yield chunk, size


def _size(column: pa.Array) -> int:
    """Return the bytes of the values, written out where the column is a dictionary."""
    if not pa.types.is_dictionary(column.type) or pa.types.is_primitive(column.type.value_type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(column.indices)).as_py() or 0) + 4 * len(column)
