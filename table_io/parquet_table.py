"""Parquet files, unpacked by a process of its own (unpack_parquet.py)."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from table_io.arrow_table import ArrowTable
from table_io.errors import TableFormatError, TableTooLargeError
from table_io.kinds import PARQUET_MAGIC
from table_io.names import MAX_COLUMNS

TIMEOUT_SECONDS = 150

_PROGRAM = Path(__file__).with_name("unpack_parquet.py")


class ParquetTable(ArrowTable):
    """A file, unpacked to an Arrow stream on the disk."""

    def __init__(self, file: IO[bytes], max_bytes: int, folder: str | None = None) -> None:
        """Unpack the file to at most max_bytes in the folder; the unpacked file has no name and ends with this object.

        Raises:
            TableTooLargeError: it unpacks to more.
            TableFormatError: it cannot be read.
            OSError: the folder cannot be written, or has no room.
        """
        with tempfile.TemporaryFile(dir=folder) as unpacked:
            _unpack(file, unpacked, max_bytes)
            super().__init__(unpacked)


def _unpack(file: IO[bytes], unpacked: IO[bytes], max_bytes: int) -> None:
    file.seek(0)
    head = file.read(4)
    if head != PARQUET_MAGIC or file.seek(-4, os.SEEK_END) < 8 or file.read(4) != PARQUET_MAGIC:
        raise TableFormatError("The body is not a Parquet file, or not all of it.")
    file.seek(0)
    command = [sys.executable, "-I", str(_PROGRAM), str(max_bytes), str(MAX_COLUMNS)]
    # The program needs nothing of this process's environment; Arrow's own pool would ignore the limit.
    environment = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            stdin=file,
            stdout=unpacked,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TableFormatError("The Parquet file takes too long to unpack; divide it into smaller ones.") from None
    if done.returncode == 3:
        raise TableTooLargeError(f"The Parquet file unpacks to more than {max_bytes} bytes; send it in parts.")
    if done.returncode == 4:
        raise OSError(errno.ENOSPC, "the disk is full")
    if done.returncode:
        reason = done.stderr.decode(errors="replace")[:200] if done.returncode == 2 else ""
        reason = reason.rstrip(".") or "it is damaged, or needs too much memory"
        raise TableFormatError(f"The Parquet file cannot be read: {reason}.")
