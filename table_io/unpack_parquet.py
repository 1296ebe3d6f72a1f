"""Turn the Parquet file on standard input into an Arrow stream on standard output; a program of its own.

pyarrow ends its whole process on some damaged files, and a small page can unpack to gigabytes. So this runs under
limits, and its exit status reports the outcome:

| status | meaning |
| --- | --- |
| 0 | the stream is complete |
| 2 | the file cannot be read; standard error has the reason |
| 3 | it unpacks to more bytes than the first argument allows |
| 4 | the disk is full |
| another | the system or a limit ended it |
"""

import contextlib
import errno
import os
import resource
import sys
from pathlib import Path

_BATCH_ROWS = 8192
_BATCH_CELLS = 512 * 1024
_MEMORY_BYTES = 512 * 1024 * 1024
_CPU_SECONDS = 120


def main() -> int:
    """Unpack; return the exit status."""
    max_bytes, max_columns = int(sys.argv[1]), int(sys.argv[2])
    for limit, value in (
        (resource.RLIMIT_DATA, _MEMORY_BYTES),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_FSIZE, max_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        # A limit that is lower already cannot be raised.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))
    # Where memory is short all the same, the kernel ends this process rather than its parent.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")

    import pyarrow as pa
    from pyarrow import parquet

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        file = parquet.ParquetFile(sys.stdin.buffer, pre_buffer=False)
        schema = file.schema_arrow
        if len(schema) > max_columns:
            raise ValueError(f"it has more than {max_columns} columns")
        rows = max(1, min(_BATCH_ROWS, _BATCH_CELLS // max(1, len(schema))))
        with pa.ipc.new_stream(sys.stdout.buffer, schema) as stream:
            for batch in file.iter_batches(batch_size=rows, use_threads=False):
                stream.write_batch(batch)
        sys.stdout.buffer.flush()
    except OSError as error:
        if error.errno in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):
            return 3 if error.errno == errno.EFBIG else 4
        return _report(error)
    except (pa.ArrowException, ValueError, TypeError, MemoryError) as error:
        return _report(error)
    return 0


def _report(error: BaseException) -> int:
    sys.stderr.write((str(error).splitlines() or ["it needs too much memory"])[0])
    return 2


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # At once: a usual exit would try again to write what could not be written.
    os._exit(status)
