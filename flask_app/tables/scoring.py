"""Check a whole table, then predict it piece by piece."""

from collections.abc import Iterator
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flask_app.model.prediction import predict_matrix
from flask_app.model.served_model import ServedModel
from flask_app.rows.matrix import check_matrix
from flask_app.tables import media_type
from flask_app.tables.arrow_table import ArrowTable, ArrowWriter
from flask_app.tables.columns import Columns, find_columns
from flask_app.tables.csv_table import CsvTable, CsvWriter
from flask_app.tables.parquet_table import ParquetTable, ParquetWriter
from http_service.problems import Problem

# Arrow's own pool keeps what it once had; a worker that scored one large file would stay large.
pa.set_memory_pool(pa.system_memory_pool())

# Rows predicted at a time: some 10 ms of one core, after which single rows get their turn.
CHUNK_ROWS = 8_192
_CHUNK_BYTES = 8 * 1024 * 1024
_MAX_ROW_BYTES = 64 * 1024 * 1024
# Few bytes may stand for many: a dictionary's long text is written out for each row that has it.
_MAX_GROWTH = 4


class _Table(Protocol):
    text: bool
    schema: pa.Schema

    def batches(self) -> Iterator[pa.RecordBatch]: ...


class _Writer(Protocol):
    def head(self) -> bytes: ...
    def rows(self, batch: pa.RecordBatch) -> bytes: ...
    def tail(self) -> bytes: ...


_TABLES: dict[str, Any] = {media_type.CSV: CsvTable, media_type.ARROW: ArrowTable, media_type.PARQUET: ParquetTable}
_WRITERS: dict[str, Any] = {media_type.CSV: CsvWriter, media_type.ARROW: ArrowWriter, media_type.PARQUET: ParquetWriter}


def score(
    served: ServedModel, file: IO[bytes], given: str, wanted: str, max_bytes: int, folder: str
) -> Iterator[bytes]:
    """The table of type `given` with its predictions, in pieces of type `wanted`; folder: for what it unpacks to.

    The whole file is checked before this returns, and nothing after it is the client's fault. Should the iterator fail
    all the same, the answer must be cut, never ended.

    Raises:
        Problem: the file is damaged, or a cell is not a number that the model takes; it names row and column.
    """
    table: _Table = _TABLES[given](file, max_bytes, folder)
    card = served.artifact.card
    added = ["prediction", "class_name", *(f"probability_{name}" for name in card.classes)]
    columns = find_columns(card, table.schema, table.text, added)
    numbers = table.text and wanted != media_type.CSV
    writer: _Writer = _WRITERS[wanted](_answer_schema(table.schema, columns, added, numbers))
    row, bytes_read = 1, 0
    for chunk, size in _chunks(table):
        columns.check(chunk, row)
        row += chunk.num_rows
        bytes_read += size
        if bytes_read > _MAX_GROWTH * max_bytes:
            raise Problem(413, f"The table unpacks to more than {_MAX_GROWTH * max_bytes} bytes; send it in parts.")
    return _pieces(served, table, columns, writer, numbers)


def _pieces(served: ServedModel, table: _Table, columns: Columns, writer: _Writer, numbers: bool) -> Iterator[bytes]:
    yield writer.head()
    classes = pa.array(served.artifact.card.classes)
    schema = _answer_schema(table.schema, columns, [], numbers)
    for chunk, _ in _chunks(table):
        matrix = columns.read(chunk, 1)
        probabilities = predict_matrix(served, check_matrix(columns.features, matrix))
        arrays = _passed_on(chunk, columns, matrix, numbers)
        yield writer.rows(_with_answer(arrays, schema, probabilities, classes))
    yield writer.tail()


def _with_answer(
    arrays: list[pa.Array], schema: pa.Schema, probabilities: NDArray[np.float32], classes: pa.Array
) -> pa.RecordBatch:
    predictions = probabilities.argmax(axis=1).astype(np.int32)
    answer = {"prediction": pa.array(predictions), "class_name": classes.take(pa.array(predictions))}
    for index, name in enumerate(classes.to_pylist()):
        answer[f"probability_{name}"] = pa.array(np.ascontiguousarray(probabilities[:, index]))
    for name, values in answer.items():
        schema = schema.append(pa.field(name, values.type))
    return pa.RecordBatch.from_arrays([*arrays, *answer.values()], schema=schema)


def _passed_on(chunk: pa.RecordBatch, columns: Columns, matrix: NDArray[np.float64], numbers: bool) -> list[pa.Array]:
    arrays = list(chunk.columns)
    if numbers:
        for position, index in enumerate(columns.indices):
            arrays[index] = pa.array(np.ascontiguousarray(matrix[:, position]))
    return arrays


def _answer_schema(schema: pa.Schema, columns: Columns, added: list[str], numbers: bool) -> pa.Schema:
    if numbers:
        for index in columns.indices:
            schema = schema.set(index, pa.field(schema.names[index], pa.float64()))
    for name, kind in zip(added, [pa.int32(), pa.string(), *[pa.float32()] * len(added)], strict=False):
        schema = schema.append(pa.field(name, kind))
    return schema


def _chunks(table: _Table) -> Iterator[tuple[pa.RecordBatch, int]]:
    """The table's rows in pieces of bounded length and size, with that size in bytes."""
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
    """Bytes of the values, written out where the column is a dictionary."""
    if not pa.types.is_dictionary(column.type) or pa.types.is_primitive(column.type.value_type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).cast(pa.int64())
    return int(pc.sum(lengths.take(column.indices)).as_py() or 0) + 4 * len(column)
