"""Score a table through the API, piece by piece, and keep the scored table."""

import contextlib
import io
import re
import time
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv, parquet

from streamlit_app.clients.api_client import ARROW_STREAM, CSV, ApiClient
from streamlit_app.clients.card import CardView
from streamlit_app.clients.errors import ApiAway, ApiNotReady, ApiUnexpected
from table_io.cells import is_text

# About 0.1 s each: often enough to show progress and to stop, rarely enough not to cost.
ROWS_PER_CALL = 10_000
# Cells, so that a wide table does not exceed the API's limits.
CELLS_PER_CALL = 500_000
# A busy service accepts no more files for a moment; longer waits are for a worker that restarts or a pod that moves.
WAITS_SECONDS = (0.5, 1.0, 2.0)
ANSWER_COLUMN = re.compile(r"prediction|class_name|error|probability_.*", re.DOTALL)


@dataclass
class ScoringRun:
    """The scoring of one table; `step` scores a piece, so that a page can draw and stop in between.

    `features` has the features' columns by their names, and `row_errors` what is wrong with each row of the file (null
    for nothing); both have a row for each row of `table`.
    """

    table: pa.Table
    features: pa.Table
    row_errors: pa.ChunkedArray
    card: CardView
    file_name: str
    done: int = 0
    seconds: float = 0.0
    versions: set[str] = field(default_factory=set)
    pieces: list[pa.Table] = field(default_factory=list)

    @property
    def total(self) -> int:
        return int(self.features.num_rows)

    @property
    def finished(self) -> bool:
        return self.done >= self.total

    @property
    def rows_per_second(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    def step(self, client: ApiClient) -> None:
        """Score the next piece; raises ApiError, after which the same step can be tried again."""
        started = time.perf_counter()
        size = max(1, min(ROWS_PER_CALL, CELLS_PER_CALL // len(self.card.features)))
        piece = self.features.slice(self.done, size)
        answer, version = _score(client, piece)
        if answer.num_rows != piece.num_rows:
            raise ApiUnexpected("The prediction service did not answer every row.")
        if version:
            self.versions.add(version)
        self.pieces.append(answer)
        self.done += piece.num_rows
        self.seconds += time.perf_counter() - started


def _score(client: ApiClient, piece: pa.Table) -> tuple[pa.Table, str]:
    """Return the answer's own columns and the model's version; try again while the service is busy or restarts."""
    body, media_type = _encode(piece)
    for wait in (*WAITS_SECONDS, None):
        try:
            answer, version = client.score(body, media_type)
            break
        except (ApiAway, ApiNotReady):
            if wait is None:
                raise
            time.sleep(wait)
    try:
        table = pa.ipc.open_stream(answer).read_all()
        return table.drop_columns(piece.column_names), version
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise ApiUnexpected("The prediction service returned an unexpected answer.") from error


def _encode(piece: pa.Table) -> tuple[bytes, str]:
    """Return the piece as CSV if it has text, which the API reads as numbers only there, else as an Arrow stream."""
    sink = io.BytesIO()
    if any(is_text(kind) for kind in piece.schema.types):
        # CSV cannot hold nested values such as lists; the API names such a column.
        with contextlib.suppress(pa.ArrowException):
            csv.write_csv(piece, sink)
            return sink.getvalue(), CSV
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, piece.schema) as stream:
        stream.write_table(piece)
    return sink.getvalue(), ARROW_STREAM


@dataclass(frozen=True)
class Scored:
    """A scored table: the visitor's columns and the API's, one row for each row of the file.

    `confidence` and `class_index` have shape (rows,); rows that could not be scored have NaN and -1. The table has the
    column `error` if there is any.
    """

    table: pa.Table
    classes: tuple[str, ...]
    confidence: NDArray[np.float32]
    class_index: NDArray[np.int32]

    @property
    def count(self) -> int:
        return int((self.class_index >= 0).sum())

    def counts(self) -> dict[str, int]:
        """Return the rows of each class, in the card's order."""
        found = np.bincount(self.class_index[self.class_index >= 0], minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))

    def error_rows(self) -> NDArray[np.int64]:
        """Return the rows with an error, from 0."""
        has_column = "error" in self.table.column_names
        return np.flatnonzero(self.table.column("error").is_valid()) if has_column else np.empty(0, np.int64)

    def as_csv(self) -> bytes:
        sink = io.BytesIO()
        csv.write_csv(self.table, sink)
        return sink.getvalue()

    def as_parquet(self) -> bytes:
        sink = io.BytesIO()
        parquet.write_table(self.table, sink, compression="zstd")
        return sink.getvalue()


def finish(job: ScoringRun) -> Scored:
    """Put the pieces together, even of a cancelled job, whose remaining rows have no prediction."""
    total = job.table.num_rows
    if job.pieces:
        # A model that was replaced in between can have other classes.
        answer = pa.concat_tables(job.pieces, promote_options="default")
        place = np.arange(total)
        has_none = (place >= job.done) | job.row_errors.is_valid().to_numpy()
        # A null index gives a null row.
        answer = answer.take(pa.array(place, mask=has_none))
    else:
        kinds = {"prediction": pa.int64(), "class_name": pa.string(), "error": pa.string()}
        answer = pa.table({name: pa.nulls(total, kind) for name, kind in kinds.items()})
    names = [f"{name} (file)" if ANSWER_COLUMN.fullmatch(name) else name for name in job.table.column_names]
    errors = pc.coalesce(job.row_errors, answer.column("error"))
    answer = answer.drop_columns("error")
    if errors.null_count < total:
        answer = answer.append_column("error", errors)
    table = job.table.rename_columns(names)
    for name, column in zip(answer.column_names, answer.columns, strict=True):
        table = table.append_column(name, column)
    confidence = np.full(total, np.nan, dtype=np.float32)
    for name in answer.column_names:
        if name.startswith("probability_"):
            values = answer.column(name).to_numpy(zero_copy_only=False).astype(np.float32)
            confidence = np.fmax(confidence, values)
    classes = answer.column("prediction").fill_null(-1).to_numpy().astype(np.int32)
    return Scored(table, job.card.classes, confidence, classes)
