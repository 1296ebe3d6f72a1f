"""The results of a batch prediction: summary, downloads, errors and the rows themselves."""

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from streamlit_app.batch.scoring import Scored, ScoringRun
from streamlit_app.components.charts import count_chart, share_words
from streamlit_app.components.figures import Figure, show_figures
from streamlit_app.components.service import theme
from streamlit_app.components.text import escape, plural

ROWS_PER_PAGE = 100
LOW_CONFIDENCE = 0.7
# Orange of the charts, light enough for the text of both themes; the column Mark shows the same without colour.
LOW_STYLE = "background-color: rgba(230, 159, 0, 0.28)"
FAILED_STYLE = "background-color: rgba(213, 94, 0, 0.28)"
MAX_PILLS = 12
MARK_PIXELS = 150
IN_FILE_ORDER, BY_CONFIDENCE = "Row in the file", "Confidence, lowest first"
CONFIDENCE_HELP = "Probability of the predicted class."


def show_results(top: DeltaGenerator, job: ScoringRun, scored: Scored) -> None:
    """Draw the results, their title into the container `top`."""
    versions = ", ".join(sorted(job.versions)) or job.card.model_version
    top.caption(f"{escape(job.file_name)} · model version {escape(versions)}")
    if not job.finished:
        st.warning(
            f"Cancelled after {job.done:,} of {job.total:,} rows: the others have no prediction.",
            icon=":material/warning:",
        )
    if len(job.versions) > 1:
        st.warning(
            "The model was updated meanwhile, so the predictions come from two versions. "
            "Predict the table again to use one version.",
            icon=":material/update:",
        )
    _summary(job, scored)
    _downloads(job, scored)
    if job.error_count:
        _errors(job, scored)
    _rows(scored)


def _summary(job: ScoringRun, scored: Scored) -> None:
    known = scored.confidence[np.isfinite(scored.confidence)]
    show_figures(
        {
            "Rows predicted": f"{scored.count:,}",
            "Rows without prediction": f"{scored.table.num_rows - scored.count:,}",
            "Mean confidence": Figure(f"{float(known.mean()):.1%}" if len(known) else "none", help=CONFIDENCE_HELP),
            "Throughput": f"{job.rows_per_second:,.0f} rows/s",
        }
    )
    counts = scored.counts()
    total = scored.count or 1
    st.altair_chart(
        count_chart(counts, theme()),
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
                # Called at the click.
                make,
                file_name=f"{stem}-predictions.{kind.lower()}",
                mime=mime,
                on_click="ignore",
                icon=":material/download:",
                key=f"download:{kind}",
            )


def _errors(job: ScoringRun, scored: Scored) -> None:
    failed = scored.table.num_rows - scored.count
    with st.expander(f"{plural(job.error_count, 'error')} in the table", icon=":material/error:"):
        shown = [{"Row": error.row, "Column": error.column, "Error": error.message} for error in job.errors]
        config = {"Row": st.column_config.NumberColumn(width="small")}
        st.dataframe(pd.DataFrame(shown), hide_index=True, column_config=config, alt="Errors by row and column")
        more = job.error_count - len(shown)
        st.caption(
            "Row 1 is the first below the header. "
            + (f"{more:,} more errors are not shown. " if more > 0 else "")
            + f"{plural(failed, 'row has', 'rows have')} no prediction: correct the cells and upload the file again."
        )


@st.fragment
def _rows(scored: Scored) -> None:
    """Draw the predicted rows, one page at a time, so that the browser never holds all."""
    st.subheader("Predictions", anchor=False)
    left, right = st.columns(2)
    threshold = left.slider(
        "Low confidence below", 0.0, 1.0, LOW_CONFIDENCE, 0.01, format="percent", key="threshold", help=CONFIDENCE_HELP
    )
    order = right.selectbox("Sort by", [IN_FILE_ORDER, BY_CONFIDENCE], key="order")
    shown = _class_filter(scored)
    low_only = st.toggle("Show only rows with low confidence", key="low_only")
    with np.errstate(invalid="ignore"):
        low = scored.confidence < threshold
    keep = np.isin(scored.class_index, shown) if shown else np.ones(len(low), dtype=bool)
    if low_only:
        keep &= low
    rows = np.flatnonzero(keep)
    if order == BY_CONFIDENCE:
        rows = rows[np.argsort(scored.confidence[rows], kind="stable")]
    st.caption(f"{len(rows):,} of {plural(len(keep), 'row')}, {int((low & keep).sum()):,} of them with low confidence")
    if not len(rows):
        st.info("No row matches the filters.", icon=":material/filter_alt:")
        return
    place = st.container()
    pages = -(-len(rows) // ROWS_PER_PAGE)
    page = st.pagination(pages, key=f"page:{pages}") if pages > 1 else 1
    _draw(place, scored, rows[(page - 1) * ROWS_PER_PAGE : page * ROWS_PER_PAGE], low)


def _class_filter(scored: Scored) -> list[int]:
    """Draw the filter; return the indices of the chosen classes."""
    indices = list(range(len(scored.classes)))
    if len(indices) <= MAX_PILLS:
        return list(
            st.pills("Classes", indices, selection_mode="multi", format_func=scored.classes.__getitem__, key="classes")
        )
    return list(st.multiselect("Classes", indices, format_func=scored.classes.__getitem__, key="classes"))


def _draw(place: DeltaGenerator, scored: Scored, rows: np.ndarray, low: np.ndarray) -> None:
    # The table has the class's name, so its number is left out.
    frame = scored.table.drop_columns("prediction").take(pa.array(rows)).to_pandas()
    failed = scored.class_index[rows] < 0
    frame.insert(0, "Row", rows + 1)
    frame.insert(1, "Class", frame.pop("class_name").fillna(""))
    frame.insert(2, "Confidence", scored.confidence[rows] * 100)
    frame.insert(3, "Mark", np.where(failed, "✗ no prediction", np.where(low[rows], "▲ low confidence", "")))
    style = np.where(failed, FAILED_STYLE, np.where(low[rows], LOW_STYLE, ""))
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
        alt="Predicted rows",
        key="rows",
    )
