"""Arrow IPC streams."""

import itertools
import mmap
import os
import struct
from collections.abc import Iterator
from typing import IO

import pyarrow as pa

from table_io.errors import TableFormatError
from table_io.flatbuffer import FlatTable
from table_io.names import clean_names

# Compressed buffers are unpacked in memory, a batch at a time; dictionaries stay there to the end.
MAX_UNPACKED_BYTES = 64 * 1024 * 1024

# Each message costs time, however small it is.
MAX_MESSAGES = 200_000
MAX_METADATA_BYTES = 16 * 1024 * 1024

_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _DICTIONARY_BATCH, _RECORD_BATCH = 1, 2, 3


class ArrowTable:
    """The batches of a stream, mapped from the file: they take the page cache's memory, which it can give up."""

    is_text = False

    def __init__(self, file: IO[bytes]) -> None:
        """Check the frame of every message, and read the schema.

        Raises:
            TableFormatError: it is not a complete Arrow stream, or would need too much memory.
        """
        size = file.seek(0, os.SEEK_END)
        if not size:
            raise TableFormatError("The Arrow stream is empty.")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            _check_messages(mapped, size)
        except (struct.error, OverflowError):
            raise _not_a_stream() from None
        self._buffer = pa.py_buffer(mapped)
        try:
            schema = pa.ipc.open_stream(pa.BufferReader(self._buffer)).schema
            # Reading a name or a type's name fails here if it is not UTF-8, rather than later.
            [(field.name, str(field.type)) for field in schema]
        except (pa.ArrowException, ValueError, OSError) as error:
            raise _unreadable(error) from None
        names = clean_names(schema.names)
        self.schema = pa.schema([field.with_name(name) for name, field in zip(names, schema, strict=True)])
        self._is_checked = False

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, from the first; the first pass validates them.

        Raises:
            TableFormatError: they are damaged.
        """
        try:
            for batch in pa.ipc.open_stream(pa.BufferReader(self._buffer)):
                if not self._is_checked:
                    # Arrow reads offsets that point outside of their buffers without a check.
                    batch.validate(full=True)
                yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
        except (pa.ArrowException, ValueError, OSError) as error:
            raise _unreadable(error) from None
        self._is_checked = True


def _check_messages(data: mmap.mmap, size: int) -> None:
    position, dictionaries, is_first = 0, 0, True
    for number in itertools.count():
        if position + 8 > size:
            raise TableFormatError(
                "The Arrow stream stops before its end mark; was it cut off, or its writer not closed?"
            )
        marker, length = struct.unpack_from("<Ii", data, position)
        position += 8
        if marker != _CONTINUATION or length < 0 or (is_first and not length):
            raise _not_a_stream()
        if not length:
            break
        if length > MAX_METADATA_BYTES or number > MAX_MESSAGES:
            raise TableFormatError(f"The Arrow stream has more than {MAX_MESSAGES} batches, or too many columns.")
        message = FlatTable(data[position : position + length])
        position += length
        kind, header, body = message.number(1, "<B"), message.table(2), message.number(3, "<q")
        if header is None or body < 0 or (kind == _SCHEMA) != is_first:
            raise _not_a_stream()
        if position + body > size:
            raise TableFormatError("The Arrow stream stops before its end mark; was it cut off?")
        if kind == _DICTIONARY_BATCH:
            header = header.table(1)
            dictionaries += max(body, _unpacked(header, data, position)) if header else 0
        unpacked = _unpacked(header, data, position) if kind == _RECORD_BATCH and header else 0
        if max(unpacked, dictionaries) > MAX_UNPACKED_BYTES:
            raise TableFormatError(
                f"A compressed batch, or all dictionaries together, unpack to more than {MAX_UNPACKED_BYTES} bytes;"
                " write smaller batches."
            )
        position += body
        is_first = False
    if position != size:
        raise TableFormatError("The Arrow stream goes on behind its end mark.")


def _unpacked(batch: FlatTable, data: mmap.mmap, body: int) -> int:
    """Return how many bytes the compressed buffers of a batch declare to unpack to; 0 if they are not compressed."""
    if batch.table(3) is None:
        return 0
    total = 0
    for offset, length in batch.pairs(2):
        if length > 0 and offset >= 0:
            (unpacked,) = struct.unpack_from("<q", data, body + offset)
            # -1 marks a buffer that is not compressed.
            total += length if unpacked == -1 else max(unpacked, 0)
    return total


def _not_a_stream() -> TableFormatError:
    return TableFormatError("The body is not an Arrow IPC stream.")


def _unreadable(error: BaseException) -> TableFormatError:
    reason = (str(error).splitlines() or [""])[0]
    return TableFormatError(f"The Arrow stream cannot be read: {reason[:200]}.")
