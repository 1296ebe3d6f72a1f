"""The first step of a batch prediction: a table from a file or the clipboard, with its columns matched to features."""

import io
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import streamlit as st
from pyarrow import csv

from streamlit_app.batch.table import CellError, TableError, match_columns, read_table
from streamlit_app.clients.card import CardView
from streamlit_app.components.text import escape, plural

UPLOAD, PASTE = "Upload a file", "Paste a table"
PREVIEW_ROWS = 5
MAX_NAMES = 20


@dataclass
class LoadedTable:
    """The visitor's table, and its lines that are not rows."""

    source: str
    name: str
    table: pa.Table
    errors: list[CellError]


def choose_table(card: CardView) -> tuple[LoadedTable, dict[str, str]] | None:
    """Draw the step; return the table and the column of each feature, None as long as one is missing."""
    # The server's limit includes the multipart frame.
    limit = int(st.get_option("server.maxUploadSize")) - 1
    st.caption(
        f"CSV or Parquet, up to {limit} MB. Columns are matched with the model's features by name, in any order; "
        "other columns are returned unchanged."
    )
    way = st.segmented_control("Source", [UPLOAD, PASTE], default=UPLOAD, required=True, label_visibility="collapsed")
    st.download_button(
        "Download a sample file",
        sample(card),
        file_name=f"{card.model_name}-sample.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        type="tertiary",
    )
    loaded = _upload(limit) if way == UPLOAD else _paste()
    if loaded is None:
        st.session_state.pop("loaded", None)
        return None
    matches = match_columns(loaded.table.column_names, card)
    _preview(loaded, matches)
    missing = [name for name, column in matches.items() if column is None]
    if missing:
        names = ", ".join(escape(name) for name in missing[:MAX_NAMES])
        more = f" and {len(missing) - MAX_NAMES} more" if len(missing) > MAX_NAMES else ""
        st.error(
            f"The file lacks {plural(len(missing), 'column')} that the model needs: {names}{more}. "
            "Name the columns like the features and upload the file again.",
            icon=":material/error:",
        )
        return None
    return loaded, {name: column for name, column in matches.items() if column is not None}


def sample(card: CardView) -> bytes:
    """Return a CSV file with the card's golden rows, or with the medians."""
    rows = card.golden_rows or (tuple(feature.median for feature in card.features),)
    columns = {
        feature.name: [round(row[i]) if feature.integer else row[i] for row in rows]
        for i, feature in enumerate(card.features)
    }
    sink = io.BytesIO()
    csv.write_csv(pa.table({"id": list(range(1, len(rows) + 1)), **columns}), sink)
    return sink.getvalue()


def _upload(limit: int) -> LoadedTable | None:
    file = st.file_uploader(
        "CSV or Parquet file", type=["csv", "txt", "parquet", "pq"], key="file", max_upload_size=limit
    )
    if file is None:
        return None
    if file.size > limit * 1024 * 1024:
        st.error(f"The file is larger than {limit} MB: upload it in parts.", icon=":material/error:")
        return None
    return _load(f"file:{file.file_id}", file.name, file.getbuffer())


def _paste() -> LoadedTable | None:
    text = st.text_area(
        "CSV with a header row", key="pasted", height=200, placeholder="Paste rows of a spreadsheet or a CSV file"
    ).strip()
    st.button("Load the table", disabled=not text)
    if not text:
        return None
    # Spreadsheets copy cells separated by tabs.
    header = text.split("\n", 1)[0]
    if "\t" in header and "," not in header:
        text = text.replace("\t", ",")
    return _load(f"text:{hash(text)}", "pasted.csv", text.encode())


def _load(source: str, name: str, data: bytes | memoryview) -> LoadedTable | None:
    """Return the table, parsed once for each source."""
    loaded: LoadedTable | None = st.session_state.get("loaded")
    if loaded is not None and loaded.source == source:
        return loaded
    try:
        with st.spinner("Reading the file"):
            table, errors = read_table(bytes(data))
    except TableError as error:
        st.error(escape(str(error)), icon=":material/error:")
        return None
    loaded = LoadedTable(source, name, table, errors)
    st.session_state["loaded"] = loaded
    return loaded


def _preview(loaded: LoadedTable, matches: dict[str, str | None]) -> None:
    table = loaded.table
    st.subheader("Preview", anchor=False)
    st.dataframe(table.slice(0, PREVIEW_ROWS).to_pandas(), hide_index=True, alt="First rows of the file")
    found = sum(column is not None for column in matches.values())
    with st.expander(
        f"{plural(table.num_rows, 'row')}, {found} of {plural(len(matches), 'feature')} found",
        expanded=found < len(matches),
        icon=":material/check_circle:" if found == len(matches) else ":material/error:",
    ):
        rows = [
            {"Feature": name, "Column": column or "", "Status": "found" if column else "missing"}
            for name, column in matches.items()
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="The column of each feature")
        if others := len(table.column_names) - found:
            st.caption(f"{plural(others, 'other column is', 'other columns are')} returned unchanged.")
