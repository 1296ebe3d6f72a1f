"""Turn the Parquet file on standard input into an Arrow stream on standard output; a program of its own.

pyarrow ends its whole process on some damaged files, and a page of Parquet says itself how large it becomes. Status 2:
the file cannot be read (why stands on standard error); 3: it has more rows or cells than the two arguments allow;
another: it was ended by a limit.
"""

import contextlib
import io
import os
import resource
import sys

BATCH_ROWS = 8192
MEMORY_BYTES = 512 * 1024 * 1024
CPU_SECONDS = 50


def main() -> int:
    """Unpack; returns the exit status."""
    most_rows, most_cells = int(sys.argv[1]), int(sys.argv[2])
    limits = ((resource.RLIMIT_DATA, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_CORE, 0))
    for limit, value in limits:
        # A limit that is lower already cannot be raised, and need not.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))

    import pyarrow as pa
    from pyarrow import parquet

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        file = parquet.ParquetFile(io.BytesIO(sys.stdin.buffer.read()), pre_buffer=False)
        rows, columns = file.metadata.num_rows, len(file.schema_arrow)
        if rows > most_rows or rows * columns > most_cells:
            return 3
        with pa.ipc.new_stream(sys.stdout.buffer, file.schema_arrow) as stream:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                stream.write_batch(batch)
        sys.stdout.buffer.flush()
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        sys.stderr.write((str(error).splitlines() or ["it needs too much memory"])[0])
        return 2
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # At once: what could not be written would be tried again at a usual end.
    os._exit(status)
