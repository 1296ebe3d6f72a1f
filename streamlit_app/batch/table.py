"""A visitor's file as a table, and its columns matched with the model's features."""

import re
import tempfile
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from streamlit_app.clients.card import CardView
from table_io.cells import is_text
from table_io.errors import TableFormatError, TableTooLargeError
from table_io.kinds import HEAD_BYTES, kind_of_file
from table_io.reader import open_table

# What one visitor may occupy of this process's memory; larger files go to the API itself.
MAX_ROWS = 1_000_000
MAX_CELLS = 20_000_000
MAX_UNPACKED_BYTES = 256 * 1024 * 1024


def read_table(data: bytes) -> tuple[pa.Table, pa.ChunkedArray]:
    """Return CSV (all cells as text) or Parquet as a table, and for each row what is wrong with it, null for nothing.

    A row of CSV with too few or too many cells is wrong; the API checks the cells.

    Raises:
        TableFormatError: the file cannot be read, has no rows, or is larger than a page can hold.
    """
    batches, errors, rows = [], [], 0
    try:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            kind = kind_of_file(data[:HEAD_BYTES])
            table = open_table(file, kind, max_bytes=MAX_UNPACKED_BYTES, keep_ragged=True)
            width = len(table.schema)
            for batch in table.batches():
                rows += batch.num_rows
                if rows > MAX_ROWS or rows * width > MAX_CELLS:
                    raise _too_large()
                batches.append(pa.RecordBatch.from_arrays(batch.columns[:width], schema=table.schema))
                has_errors = batch.num_columns > width
                errors.append(batch.columns[width] if has_errors else pa.nulls(batch.num_rows, pa.string()))
            # Copied, so that nothing of the file is left on the disk.
            read = pa.Table.from_batches(batches, table.schema).combine_chunks()
    except TableTooLargeError:
        raise _too_large() from None
    except OSError as error:
        raise TableFormatError("There is no room for this file at the moment; try again later.") from error
    if not rows:
        raise TableFormatError("The file has no rows below its header; add at least one.")
    return read, pa.chunked_array(errors, pa.string())


def _too_large() -> TableFormatError:
    return TableFormatError(
        f"The file has more than {MAX_ROWS:,} rows or {MAX_CELLS:,} cells, or unpacks to more than"
        f" {MAX_UNPACKED_BYTES // 1024**2} MB, which is more than this page can hold: upload it in parts, or send it"
        " straight to POST /predict of the API."
    )


def match_columns(names: list[str], card: CardView) -> dict[str, str | None]:
    """Return the column of each feature: that of its name, else the only one that differs in case and signs alone."""
    by_plain: dict[str, list[str]] = {}
    for name in names:
        by_plain.setdefault(_plain(name), []).append(name)
    matches: dict[str, str | None] = {}
    for feature in card.features:
        # "Petal length (cm)" is petal_length.
        forms = (_plain(feature.name), _plain(f"{feature.name} {feature.unit}"))
        alike = [name for form in dict.fromkeys(forms) for name in by_plain.get(form, [])]
        matches[feature.name] = feature.name if feature.name in names else alike[0] if len(alike) == 1 else None
    return matches


def select_features(table: pa.Table, matches: Mapping[str, str]) -> pa.Table:
    """Return the columns of the features under the features' names."""
    return pa.table({name: _flat(table.column(column)) for name, column in matches.items()})


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _flat(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    # Text is sent as CSV, in which a lone null would be a blank line.
    return pc.fill_null(column.cast(pa.string()), "") if is_text(column.type) else column
