"""Scoring a table through the API, piece by piece, and the scored table."""

import io
import re
import time
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from streamlit_app.batch.table import MOST_ERRORS, CellError, Checked
from streamlit_app.clients.api_client import ApiClient
from streamlit_app.clients.card import CardView
from streamlit_app.clients.errors import ApiAway, ApiNotReady, ApiUnexpected, InputRejected

# About 0.1 s each: often enough to show progress and to stop, rarely enough not to cost.
ROWS_PER_CALL = 10_000
# Cells, so that a wide table does not exceed what the API takes at once.
CELLS_PER_CALL = 500_000
# A busy service takes no more files for a moment; then a worker was replaced, or a pod moved.
WAITS_SECONDS = (0.5, 1.0, 2.0)
# The API names the first 20 bad cells at a time.
MOST_REFUSALS = 50
ANSWER_COLUMN = re.compile(r"prediction|class_name|probability_.*", re.DOTALL)
_BAD_ROW = re.compile(r"row (\d+), (.*)", re.DOTALL)


@dataclass
class ScoringRun:
    """One table on its way through the API; `step` scores a piece, so that a page can draw and stop in between."""

    table: pa.Table
    checked: Checked
    card: CardView
    file_name: str
    done: int = 0
    seconds: float = 0.0
    versions: set[str] = field(default_factory=set)
    errors: list[CellError] = field(default_factory=list)
    error_count: int = 0
    pieces: list[pa.Table] = field(default_factory=list)
    kept: list[NDArray[np.int64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.errors = list(self.checked.errors)
        self.error_count = self.checked.error_count

    @property
    def total(self) -> int:
        return int(self.checked.features.num_rows)

    @property
    def finished(self) -> bool:
        return self.done >= self.total

    @property
    def rows_per_second(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    def step(self, client: ApiClient) -> None:
        """Score the next piece; raises ApiError, after which the same step can be tried again."""
        started = time.perf_counter()
        if not self.done:
            self.versions.add(client.ready().model_version)
        size = max(1, min(ROWS_PER_CALL, CELLS_PER_CALL // len(self.card.features)))
        piece = self.checked.features.slice(self.done, size)
        rows = self.checked.rows[self.done : self.done + size]
        answer, rows = self._score(client, piece, rows)
        self.pieces.append(answer)
        self.kept.append(rows)
        self.done += piece.num_rows
        if self.finished:
            self.versions.add(client.ready().model_version)
        self.seconds += time.perf_counter() - started

    def _score(self, client: ApiClient, piece: pa.Table, rows: NDArray[np.int64]) -> tuple[pa.Table, NDArray[np.int64]]:
        """The answer's own columns; rows that the API refuses are noted and left out."""
        for _ in range(MOST_REFUSALS):
            try:
                answer = _ask(client, piece)
            except InputRejected as error:
                refused = self._note(error, rows)
                if not refused:
                    raise
                good = np.setdiff1d(np.arange(piece.num_rows), sorted(refused))
                piece, rows = piece.take(good), rows[good]
                continue
            if answer.num_rows != piece.num_rows:
                raise ApiUnexpected("The prediction service did not answer every row.")
            return answer, rows
        raise ApiUnexpected("The prediction service refuses row after row of this table.")

    def _note(self, error: InputRejected, rows: NDArray[np.int64]) -> set[int]:
        refused = set()
        for item in error.fields:
            if (found := _BAD_ROW.fullmatch(item.field)) and 1 <= int(found[1]) <= len(rows):
                refused.add(int(found[1]) - 1)
                self.error_count += 1
                if len(self.errors) < MOST_ERRORS:
                    self.errors.append(CellError(int(rows[int(found[1]) - 1]) + 1, found[2], item.message))
        return refused


def _ask(client: ApiClient, piece: pa.Table) -> pa.Table:
    """Score one piece, a busy or restarting service asked again after a while."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, piece.schema) as stream:
        stream.write_table(piece)
    for wait in (*WAITS_SECONDS, None):
        try:
            answer = client.score(sink.getvalue())
            break
        except (ApiAway, ApiNotReady):
            if wait is None:
                raise
            time.sleep(wait)
    try:
        table = pa.ipc.open_stream(answer).read_all()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ApiUnexpected("The prediction service gave an answer that this page does not understand.") from error
    return table.drop_columns(piece.column_names)


@dataclass(frozen=True)
class Scored:
    """A scored table: the visitor's columns and the API's, one row for each row of the file.

    `confidence` and `class_index` have one entry a row; rows that could not be scored have NaN and -1.
    """

    table: pa.Table
    classes: tuple[str, ...]
    confidence: NDArray[np.float32]
    class_index: NDArray[np.int32]

    @property
    def count(self) -> int:
        return int((self.class_index >= 0).sum())

    def counts(self) -> dict[str, int]:
        """Rows by class, in the card's order."""
        found = np.bincount(self.class_index[self.class_index >= 0], minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))

    def as_csv(self) -> bytes:
        sink = io.BytesIO()
        csv.write_csv(self.table, sink)
        return sink.getvalue()

    def as_parquet(self) -> bytes:
        sink = io.BytesIO()
        parquet.write_table(self.table, sink, compression="zstd")
        return sink.getvalue()


def finish(job: ScoringRun) -> Scored:
    """Put the pieces together; also of a job that was cancelled, whose other rows stay without a prediction."""
    total = job.table.num_rows
    place = np.full(total, -1, dtype=np.int64)
    if job.pieces:
        answer = pa.concat_tables(job.pieces)
        rows = np.concatenate(job.kept)
        place[rows] = np.arange(len(rows))
        # An index that is null makes a row that is null.
        answer = answer.take(pa.array(place, mask=place < 0))
    else:
        answer = pa.table({"prediction": pa.nulls(total, pa.int64()), "class_name": pa.nulls(total, pa.string())})
    names = [f"{name} (file)" if ANSWER_COLUMN.fullmatch(name) else name for name in job.table.column_names]
    table = job.table.rename_columns(names)
    for name, column in zip(answer.column_names, answer.columns, strict=True):
        table = table.append_column(name, column)
    if job.error_count:
        table = table.append_column("error", _errors_by_row(job, place < 0))
    shares = [name for name in answer.column_names if name.startswith("probability_")]
    confidence = np.full(total, np.nan, dtype=np.float32)
    for name in shares:
        values = answer.column(name).to_numpy(zero_copy_only=False).astype(np.float32)
        confidence = np.fmax(confidence, values)
    classes = answer.column("prediction").to_pandas().fillna(-1).to_numpy(dtype=np.int32)
    return Scored(table, job.card.classes, confidence, classes)


def _errors_by_row(job: ScoringRun, without: NDArray[np.bool_]) -> pa.Array:
    words: dict[int, str] = {}
    for error in job.errors:
        if error.column:
            text = f"{error.column} {error.message}"
            words[error.row - 1] = f"{words[error.row - 1]}; {text}" if error.row - 1 in words else text
    missing = np.flatnonzero(without).tolist()
    texts: list[str | None] = [None] * len(without)
    for row in missing:
        texts[row] = words.get(row, "was not scored")
    return pa.array(texts, pa.string())
