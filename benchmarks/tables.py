"""Files of many rows, written in pieces."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.forms import ARROW, CSV
from benchmarks.work import FEATURES, Work

_PIECE = 1_000_000


def write_table(work: Work, content_type: str, count: int) -> Path:
    """Write a CSV file or an Arrow stream with `count` rows of four features; Arrow's are float32."""
    path = work.folder / "bodies" / f"{count}.{'csv' if content_type == CSV else 'arrow'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = work.many(min(count, _PIECE))
    kind = pa.float32() if content_type == ARROW else pa.float64()
    piece = pa.table([pa.array(column, type=kind) for column in rows.T], names=FEATURES)
    with path.open("wb") as file:
        writer = (
            pa.ipc.new_stream(file, piece.schema)
            if content_type == ARROW
            else pa.csv.CSVWriter(file, piece.schema, write_options=pa.csv.WriteOptions(quoting_style="none"))
        )
        with writer:
            for first in range(0, count, _PIECE):
                writer.write_table(piece.slice(0, min(_PIECE, count - first)), 65_536)
    return path


def write_matrix(work: Work, count: int) -> Path:
    """Write a float32 matrix of shape (count, 4) as .npy."""
    path = work.folder / "bodies" / f"{count}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, work.many(count).astype(np.float32))
    return path
