"""Parquet files."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import parquet

from flask_app.tables.arrow_table import ArrowTable
from flask_app.tables.columns import MAX_COLUMNS
from flask_app.tables.upload import no_room, unnamed_file
from http_service.problems import Problem

_PROGRAM = Path(__file__).with_name("unpack_parquet.py")
_SECONDS = 150

# A row group is kept in memory until it is written.
_GROUP_ROWS = 131_072
_GROUP_BYTES = 16 * 1024 * 1024


class ParquetTable(ArrowTable):
    """A file that another process has unpacked to an Arrow stream beside it, where damage can do no harm."""

    def __init__(self, file: IO[bytes], max_bytes: int, folder: str) -> None:
        """Unpack the file, to at most max_bytes.

        Raises:
            Problem: 413 it unpacks to more, 422 it cannot be read, 503 there is no room for it.
        """
        file.seek(0)
        head = file.read(4)
        if head != b"PAR1" or file.seek(-4, os.SEEK_END) < 8 or file.read(4) != b"PAR1":
            raise Problem(422, "The body is not a Parquet file, or not all of it.")
        with unnamed_file(folder) as unpacked:
            _unpack(file, unpacked, max_bytes)
            super().__init__(unpacked, max_bytes, folder)


def _unpack(file: IO[bytes], unpacked: IO[bytes], max_bytes: int) -> None:
    command = [sys.executable, "-I", str(_PROGRAM), str(max_bytes), str(MAX_COLUMNS)]
    # Nothing of the worker's environment is the program's business; Arrow's own pool would not heed the limit.
    environment = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    file.seek(0)
    try:
        done = subprocess.run(
            command, stdin=file, stdout=unpacked, stderr=subprocess.PIPE, env=environment, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Problem(422, "The Parquet file takes too long to unpack; send it in parts.") from None
    if done.returncode == 0:
        return
    if done.returncode == 3:
        raise Problem(413, f"The Parquet file unpacks to more than {max_bytes} bytes; send it in parts.")
    if done.returncode == 4:
        raise no_room(OSError("the disk is full"))
    reason = (
        done.stderr.decode(errors="replace")[:200]
        if done.returncode == 2
        else "it is damaged, or needs too much memory"
    )
    raise Problem(422, f"The Parquet file cannot be read: {reason.rstrip('.')}.")


class ParquetWriter:
    """Rows as a Parquet file, one row group at a time."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(self._sink, schema)
        self._waiting: list[pa.RecordBatch] = []

    def head(self) -> bytes:
        """The file's first bytes."""
        return self._sink.taken()

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """A row group, or nothing while it is not complete."""
        self._waiting.append(batch)
        rows = sum(waiting.num_rows for waiting in self._waiting)
        if rows >= _GROUP_ROWS or sum(waiting.nbytes for waiting in self._waiting) >= _GROUP_BYTES:
            self._write()
        return self._sink.taken()

    def tail(self) -> bytes:
        """The last row group and the footer."""
        if self._waiting:
            self._write()
        self._writer.close()
        return self._sink.taken()

    def _write(self) -> None:
        table = pa.Table.from_batches(self._waiting, schema=self._schema)
        self._waiting = []
        self._writer.write_table(table, row_group_size=_GROUP_ROWS)


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken, and counts on."""

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

    def taken(self) -> bytes:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
