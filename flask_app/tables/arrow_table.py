"""Arrow IPC streams."""

import io
import itertools
import mmap
import os
import struct
from collections.abc import Iterator
from typing import IO

import pyarrow as pa

from flask_app.tables.columns import check_width
from flask_app.tables.flatbuffer import Table
from http_service.problems import Problem

# Compressed buffers are unpacked in memory, a batch at a time; dictionaries stay there to the end.
MAX_UNPACKED = 64 * 1024 * 1024

# A message is work whatever its size.
_MAX_MESSAGES = 200_000
_MAX_METADATA = 16 * 1024 * 1024

_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _DICTIONARY_BATCH, _RECORD_BATCH = 1, 2, 3


class ArrowTable:
    """The batches of a stream, read where they lie in the file: memory is the page cache's, which can let it go."""

    text = False

    def __init__(self, file: IO[bytes], _max_bytes: int, _folder: str) -> None:
        """Look at every message's frame, and read the schema.

        Raises:
            Problem: 422 it is no complete Arrow stream, or would need too much memory.
        """
        size = file.seek(0, os.SEEK_END)
        if not size:
            raise Problem(422, "The Arrow stream is empty.")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            _check_messages(mapped, size)
        except (struct.error, OverflowError):
            raise Problem(422, "The body is not an Arrow IPC stream.") from None
        self._buffer = pa.py_buffer(mapped)
        try:
            self.schema = pa.ipc.open_stream(pa.BufferReader(self._buffer)).schema
            # Names that are not UTF-8 fail as soon as they are asked for, here rather than later.
            [(field.name, str(field.type)) for field in self.schema]
        except (pa.ArrowException, ValueError, OSError) as error:
            raise _refusal(error) from None
        check_width(len(self.schema))
        self._checked = False

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches, from the first; what they say of themselves is checked on the first pass.

        Raises:
            Problem: 422 they are damaged.
        """
        try:
            for batch in pa.ipc.open_stream(pa.BufferReader(self._buffer)):
                if not self._checked:
                    # Offsets that point outside of their buffers would be read as they are.
                    batch.validate(full=True)
                yield batch
        except (pa.ArrowException, ValueError, OSError) as error:
            raise _refusal(error) from None
        self._checked = True


class ArrowWriter:
    """Rows as an Arrow stream."""

    def __init__(self, schema: pa.Schema) -> None:
        self._sink = io.BytesIO()
        self._writer = pa.ipc.new_stream(self._sink, schema)

    def head(self) -> bytes:
        """The schema."""
        return self._taken()

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """One batch."""
        self._writer.write_batch(batch)
        return self._taken()

    def tail(self) -> bytes:
        """The mark of the end."""
        self._writer.close()
        return self._taken()

    def _taken(self) -> bytes:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return data


def _check_messages(data: mmap.mmap, size: int) -> None:
    position, dictionaries, first = 0, 0, True
    for number in itertools.count():
        if position + 8 > size:
            raise Problem(422, "The Arrow stream stops before its end mark; was it cut off, or its writer not closed?")
        marker, length = struct.unpack_from("<Ii", data, position)
        position += 8
        if marker != _CONTINUATION or length < 0 or (first and not length):
            raise Problem(422, "The body is not an Arrow IPC stream.")
        if not length:
            break
        if length > _MAX_METADATA or number > _MAX_MESSAGES:
            raise Problem(422, f"The Arrow stream has more than {_MAX_MESSAGES} batches, or columns without end.")
        message = Table(data[position : position + length])
        position += length
        kind, header, body = message.number(1, "<B"), message.table(2), message.number(3, "<q")
        if header is None or body < 0 or (kind == _SCHEMA) != first:
            raise Problem(422, "The body is not an Arrow IPC stream.")
        if position + body > size:
            raise Problem(422, "The Arrow stream stops before its end mark; was it cut off?")
        if kind == _DICTIONARY_BATCH:
            header = header.table(1)
            dictionaries += max(body, _unpacked(header, data, position)) if header else 0
        unpacked = _unpacked(header, data, position) if kind == _RECORD_BATCH and header else 0
        if max(unpacked, dictionaries) > MAX_UNPACKED:
            raise Problem(
                422,
                f"A compressed batch, or all dictionaries together, unpack to more than {MAX_UNPACKED} bytes;"
                " write smaller batches.",
            )
        position += body
        first = False
    if position != size:
        raise Problem(422, "The Arrow stream goes on behind its end mark.")


def _unpacked(batch: Table, data: mmap.mmap, body: int) -> int:
    """Bytes that the compressed buffers of a batch say they unpack to; 0 if they are not compressed."""
    if batch.table(3) is None:
        return 0
    total = 0
    for offset, length in batch.pairs(2):
        if length > 0 and offset >= 0:
            (unpacked,) = struct.unpack_from("<q", data, body + offset)
            # -1 stands before a buffer that was left as it is.
            total += length if unpacked == -1 else max(unpacked, 0)
    return total


def _refusal(error: BaseException) -> Problem:
    reason = (str(error).splitlines() or [""])[0]
    return Problem(422, f"The Arrow stream cannot be read: {reason[:200]}.")
