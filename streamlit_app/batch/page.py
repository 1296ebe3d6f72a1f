"""The page on which a person has a whole table scored."""

import io
import time
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st
from pyarrow import csv

from streamlit_app.batch.scoring import Scored, ScoringRun, finish
from streamlit_app.batch.table import CellError, TableError, check_table, match_columns, read_table
from streamlit_app.clients.card import CardView
from streamlit_app.clients.errors import ApiError
from streamlit_app.components import service
from streamlit_app.components.charts import count_chart, share_words
from streamlit_app.components.text import escape, humanise, plural

TITLE = "Batch"
UPLOAD, PASTE = "Upload a file", "Paste a table"
PREVIEW_ROWS = 5
ROWS_PER_PAGE = 100
# The progress bar is drawn so often at most; every drawing is a message to the browser.
SECONDS_PER_DRAWING = 0.2
UNSURE_BELOW = 0.7
# Orange of the charts, thin enough for either theme's text; the mark says the same without colour.
UNSURE_STYLE = "background-color: rgba(230, 159, 0, 0.28)"
FAILED_STYLE = "background-color: rgba(213, 94, 0, 0.28)"
MOST_PILLS = 12
MARK_PIXELS = 120


@dataclass
class Loaded:
    """What the visitor sent: the table, and the lines of it that are no rows."""

    source: str
    name: str
    table: pa.Table
    errors: list[CellError]


def show() -> None:
    """Draw the page."""
    card = service.card_or_stop(TITLE)
    st.set_page_config(page_title=f"{humanise(card.model_name)}: batch")
    st.title("Score a table", anchor=False)
    with st.container():
        service.tell_of_new_model(card.model_version)
    if "scored" in st.session_state:
        with st.container():
            _results(st.session_state["job"], st.session_state["scored"])
    elif "job" in st.session_state:
        # Takes the place of what was there at once; it would otherwise stay until the last row is scored.
        st.empty()
        _run(st.session_state["job"])
    else:
        with st.container():
            _choose(card)


def _choose(card: CardView) -> None:
    # The server's limit is that of the upload with its frame.
    limit = int(st.get_option("server.maxUploadSize")) - 1
    st.caption(
        f"CSV or Parquet, up to {limit} MB. The columns are found by their names, in any order; "
        "other columns come back as they are."
    )
    way = st.segmented_control("Source", [UPLOAD, PASTE], default=UPLOAD, required=True, label_visibility="collapsed")
    st.download_button(
        "Download a sample file",
        _sample(card),
        file_name=f"{card.model_name}-sample.csv",
        mime="text/csv",
        on_click="ignore",
        icon=":material/download:",
        type="tertiary",
    )
    loaded = _upload(limit) if way == UPLOAD else _paste()
    if loaded is None:
        st.session_state.pop("loaded", None)
        return
    matches = match_columns(loaded.table.column_names, card)
    _preview(loaded, matches)
    missing = [name for name, column in matches.items() if column is None]
    if missing:
        names = ", ".join(escape(name) for name in missing[:20])
        more = f" and {len(missing) - 20} more" if len(missing) > 20 else ""
        st.error(
            f"The file lacks {plural(len(missing), 'column')} that the model needs: {names}{more}. "
            "Name the columns like the features and send the file again.",
            icon=":material/error:",
        )
        return
    found = {name: column for name, column in matches.items() if column is not None}
    if st.button(f"Score {plural(loaded.table.num_rows, 'row')}", type="primary", key="score"):
        with st.spinner("Checking every cell"):
            checked = check_table(loaded.table, card, found)
        job = ScoringRun(loaded.table, checked, card, loaded.name)
        job.errors = [*loaded.errors, *job.errors]
        job.error_count += len(loaded.errors)
        st.session_state["job"] = job
        # The parsed table is in the job; the widget's own copy goes when the page draws no widget.
        st.session_state.pop("loaded", None)
        st.rerun()


def _sample(card: CardView) -> bytes:
    rows = card.golden_rows or (tuple(feature.median for feature in card.features),)
    columns = {feature.name: [row[i] for row in rows] for i, feature in enumerate(card.features)}
    for feature in card.features:
        if feature.integer:
            columns[feature.name] = [round(value) for value in columns[feature.name]]
    sink = io.BytesIO()
    csv.write_csv(pa.table({"id": list(range(1, len(rows) + 1)), **columns}), sink)
    return sink.getvalue()


def _upload(limit: int) -> Loaded | None:
    file = st.file_uploader(
        "CSV or Parquet file", type=["csv", "txt", "parquet", "pq"], key="file", max_upload_size=limit
    )
    if file is None:
        return None
    if file.size > limit * 1024 * 1024:
        st.error(f"The file is larger than {limit} MB: send it in parts.", icon=":material/error:")
        return None
    return _load(f"file:{file.file_id}", file.name, file.getbuffer())


def _paste() -> Loaded | None:
    text = st.text_area(
        "CSV with a header row", key="pasted", height=200, placeholder="Copy the rows of a sheet or a CSV file to here"
    )
    if not text.strip():
        st.button("Read the table", disabled=True)
        return None
    st.button("Read the table")
    # What is copied from a sheet is separated by tabs.
    head = text.strip().split("\n", 1)[0]
    if "\t" in head and "," not in head:
        text = text.replace("\t", ",")
    return _load(f"text:{hash(text)}", "pasted.csv", text.strip().encode())


def _load(source: str, name: str, data: bytes | memoryview) -> Loaded | None:
    """The table, parsed once for each source."""
    loaded: Loaded | None = st.session_state.get("loaded")
    if loaded is not None and loaded.source == source:
        return loaded
    try:
        with st.spinner("Reading the file"):
            table, errors = read_table(bytes(data))
    except TableError as error:
        st.error(escape(str(error)), icon=":material/error:")
        return None
    loaded = Loaded(source, name, table, errors)
    st.session_state["loaded"] = loaded
    return loaded


def _preview(loaded: Loaded, matches: dict[str, str | None]) -> None:
    table = loaded.table
    st.subheader("The first rows", anchor=False)
    st.dataframe(table.slice(0, PREVIEW_ROWS).to_pandas(), hide_index=True, alt="First rows of the file")
    found = sum(column is not None for column in matches.values())
    with st.expander(
        f"{plural(table.num_rows, 'row')}, {found} of {plural(len(matches), 'feature')} found",
        expanded=found < len(matches),
        icon=":material/check_circle:" if found == len(matches) else ":material/error:",
    ):
        rows = [
            {"Feature": name, "Column": column or "", "": "found" if column else "missing"}
            for name, column in matches.items()
        ]
        st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Which column holds which feature")
        others = len(table.column_names) - found
        if others:
            st.caption(f"{plural(others, 'other column comes', 'other columns come')} back unchanged.")


def _run(job: ScoringRun) -> None:
    """Score to the end; a press of Cancel stops this run of the script, and the next one comes here no more."""
    st.caption(f"{escape(job.file_name)}: {plural(job.total, 'row')} to score")
    bar = st.progress(0.0, text=_progress_text(job))
    st.button("Cancel", key="cancel", on_click=_cancel, icon=":material/close:")
    drawn = 0.0
    while not job.finished:
        try:
            job.step(service.client())
        except ApiError as error:
            _stopped(job, error)
        if time.monotonic() - drawn > SECONDS_PER_DRAWING or job.finished:
            drawn = time.monotonic()
            bar.progress(job.done / job.total, text=_progress_text(job))
    _keep()
    st.rerun()


def _progress_text(job: ScoringRun) -> str:
    speed = f" · {job.rows_per_second:,.0f} rows/s" if job.done else ""
    return f"{job.done:,} of {job.total:,} rows{speed}"


def _stopped(job: ScoringRun, error: ApiError) -> NoReturn:
    service.forget_card()
    service.show_error(error, job.card)
    kept = plural(job.done, "row is", "rows are")
    st.caption(f"{kept} scored and kept. Where the model takes other columns now, start over.")
    with st.container(horizontal=True):
        st.button("Go on", key="go_on", type="primary")
        st.button("Start over", key="start_over", on_click=_forget)
    st.stop()


def _cancel() -> None:
    """Keep what is scored; nothing: back to the start."""
    if st.session_state["job"].done:
        _keep()
    else:
        _forget()


def _keep() -> None:
    st.session_state["scored"] = finish(st.session_state["job"])


def _forget() -> None:
    for name in ("job", "scored", "loaded"):
        st.session_state.pop(name, None)


def _results(job: ScoringRun, scored: Scored) -> None:
    top = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    top.caption(f"{escape(job.file_name)} · model {escape(', '.join(sorted(job.versions)) or job.card.model_version)}")
    top.button("Score another table", key="another", on_click=_forget, icon=":material/restart_alt:")
    if not job.finished:
        st.warning(
            f"Cancelled after {job.done:,} of {job.total:,} rows: the others have no prediction.",
            icon=":material/warning:",
        )
    if len(job.versions) > 1:
        st.warning(
            "The model was replaced while the table was scored, so its rows come from two versions. "
            "Score the table again to have all from one.",
            icon=":material/update:",
        )
    _summary(job, scored)
    _downloads(job, scored)
    if job.error_count:
        _errors(job, scored)
    _rows(scored)


def _summary(job: ScoringRun, scored: Scored) -> None:
    sure = scored.confidence[np.isfinite(scored.confidence)]
    service.metrics(
        {
            "Rows scored": f"{scored.count:,}",
            "Without a prediction": f"{scored.table.num_rows - scored.count:,}",
            "Mean confidence": f"{float(sure.mean()):.1%}" if len(sure) else "none",
            "Rows per second": f"{job.rows_per_second:,.0f}",
        }
    )
    counts = scored.counts()
    total = scored.count or 1
    st.altair_chart(
        count_chart(counts, service.theme()),
        alt=share_words("Share of the rows", {name: count / total for name, count in counts.items()}),
        key="counts",
    )


def _downloads(job: ScoringRun, scored: Scored) -> None:
    stem = job.file_name.rsplit(".", 1)[0] or "table"
    with st.container(horizontal=True):
        for kind, make, mime in (
            ("CSV", scored.as_csv, "text/csv"),
            ("Parquet", scored.as_parquet, "application/vnd.apache.parquet"),
        ):
            st.download_button(
                f"Download {kind}",
                make,
                file_name=f"{stem}-scored.{kind.lower()}",
                mime=mime,
                # Written when it is asked for, and then not drawn anew.
                on_click="ignore",
                icon=":material/download:",
                key=f"download:{kind}",
            )


def _errors(job: ScoringRun, scored: Scored) -> None:
    failed = scored.table.num_rows - scored.count
    with st.expander(
        f"{plural(job.error_count, 'cell or line', 'cells or lines')} cannot be scored", icon=":material/error:"
    ):
        shown = [{"Row": error.row, "Column": error.column, "What is wrong": error.message} for error in job.errors]
        config = {"Row": st.column_config.NumberColumn(width="small")}
        frame = pd.DataFrame(shown)
        st.dataframe(frame, hide_index=True, column_config=config, alt="What is wrong, by row and column")
        more = job.error_count - len(shown)
        st.caption(
            "Rows count from 1, the first below the header. "
            + (f"{more:,} more are not shown. " if more > 0 else "")
            + f"{plural(failed, 'row has', 'rows have')} no prediction; mend the cells and score the file again."
        )


@st.fragment
def _rows(scored: Scored) -> None:
    """The scored rows, one page of them at a time: the browser never holds all."""
    st.subheader("The rows", anchor=False)
    left, right = st.columns(2)
    threshold = left.slider("Unsure below", 0.0, 1.0, UNSURE_BELOW, 0.01, format="percent", key="threshold")
    order = right.selectbox("Order", ["As in the file", "Least sure first"], key="order")
    shown = _class_filter(scored)
    unsure_only = st.toggle("Unsure rows only", key="unsure_only")
    with np.errstate(invalid="ignore"):
        unsure = scored.confidence < threshold
    keep = np.isin(scored.class_index, shown) if shown else np.ones(len(unsure), dtype=bool)
    if unsure_only:
        keep &= unsure
    rows = np.flatnonzero(keep)
    if order != "As in the file":
        rows = rows[np.argsort(scored.confidence[rows], kind="stable")]
    st.caption(f"{len(rows):,} of {plural(len(keep), 'row')}, {int((unsure & keep).sum()):,} of them unsure")
    if not len(rows):
        st.info("No row fits these filters: widen them.", icon=":material/filter_alt:")
        return
    place = st.container()
    pages = -(-len(rows) // ROWS_PER_PAGE)
    page = st.pagination(pages, key=f"page:{pages}") if pages > 1 else 1
    rows = rows[(page - 1) * ROWS_PER_PAGE : page * ROWS_PER_PAGE]
    _draw(place, scored, rows, unsure)


def _class_filter(scored: Scored) -> list[int]:
    indices = list(range(len(scored.classes)))
    label = "Classes"
    if len(indices) <= MOST_PILLS:
        return list(
            st.pills(label, indices, selection_mode="multi", format_func=lambda i: scored.classes[i], key="classes")
        )
    return list(st.multiselect(label, indices, format_func=lambda i: scored.classes[i], key="classes"))


def _draw(place: "st.delta_generator.DeltaGenerator", scored: Scored, rows: np.ndarray, unsure: np.ndarray) -> None:
    # The class's number says nothing beside its name.
    frame = scored.table.drop_columns("prediction").take(pa.array(rows)).to_pandas()
    failed = scored.class_index[rows] < 0
    mark = np.where(failed, "✗ not scored", np.where(unsure[rows], "▲ unsure", ""))
    frame.insert(0, "Row", rows + 1)
    frame.insert(1, "Class", frame.pop("class_name").fillna(""))
    frame.insert(2, "Confidence", scored.confidence[rows] * 100)
    frame.insert(3, "Mark", mark)
    style = np.where(failed, FAILED_STYLE, np.where(unsure[rows], UNSURE_STYLE, ""))
    coloured = ["Row", "Class", "Confidence", "Mark"]
    styled = frame.style.apply(lambda _: pd.Series(style, index=frame.index), subset=coloured, axis=0)
    percent_column = st.column_config.NumberColumn(format="%.1f%%")
    shares = [f"probability_{name}" for name in scored.classes if f"probability_{name}" in frame]
    frame[shares] *= 100
    place.dataframe(
        styled,
        hide_index=True,
        column_config={
            "Confidence": percent_column,
            "Mark": st.column_config.TextColumn(width=MARK_PIXELS),
            **dict.fromkeys(shares, percent_column),
        },
        alt="Scored rows",
        key="rows",
    )


if __name__ == "__main__":
    show()
