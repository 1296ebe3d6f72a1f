"""The first step of a training: a built-in table or a visitor's file, its columns, and its checks."""

from dataclasses import dataclass, field
from typing import BinaryIO

import pandas as pd
import streamlit as st

from streamlit_app.clients.errors import ApiError
from streamlit_app.clients.training_answers import CheckedTable, TableColumn, TrainingJob, TrainingOptions
from streamlit_app.clients.training_client import TrainingClient
from streamlit_app.components.charts import count_chart, share_words
from streamlit_app.components.service import theme
from streamlit_app.components.text import escape, plural
from streamlit_app.train import session

BUILT_IN, FILE = "Built-in table", "Upload a file"
FILE_TYPES = ["csv", "txt", "parquet", "pq"]
FEATURE = "feature"
MEBIBYTE = 1024 * 1024
MAX_SENTENCES = 12
MAX_BARS = 40


@dataclass
class TrainingTable:
    """The table to train from, with the results of its checks for this target.

    A built-in table has no file, and the service knows its target; `ignore` names the excluded columns.
    """

    name: str
    checked: CheckedTable
    file: BinaryIO | None = None
    target: str | None = None
    ignore: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        return not self.checked.errors and (self.file is None or self.target is not None)

    def train(self, client: TrainingClient, config: dict[str, object], *, force: bool) -> TrainingJob:
        """Start a training. Raises ApiError."""
        if self.file is None:
            return client.train(self.name, config, force=force)
        whole = {**config, "target": self.target, "ignore": list(self.ignore)}
        return client.train_file(self.name, self.file, whole, force=force)


@dataclass
class TableChecks:
    """The results for one source of rows, by target and excluded columns."""

    source: str
    results: dict[tuple[str | None, tuple[str, ...]], CheckedTable] = field(default_factory=dict)


def choose_table(client: TrainingClient, options: TrainingOptions) -> TrainingTable | None:
    """Draw the step; return None without a table."""
    st.subheader("1 · Table", anchor=False)
    source = st.segmented_control("Source", [BUILT_IN, FILE], default=BUILT_IN, required=True, key="source")
    try:
        table = _built_in(client, options) if source == BUILT_IN else _file(client, options)
    except ApiError as error:
        session.show_error(error)
        st.button("Try again", key="check_again")
        return None
    if table is not None:
        _show(table)
    return table


def _built_in(client: TrainingClient, options: TrainingOptions) -> TrainingTable | None:
    name = st.selectbox("Table", options.tables, key="built_in")
    if name is None:
        return None
    return TrainingTable(name, _check(client, f"built in:{name}", name))


def _file(client: TrainingClient, options: TrainingOptions) -> TrainingTable | None:
    # The server's limit includes the multipart frame.
    limit = int(st.get_option("server.maxUploadSize")) - 1
    if options.table_bytes:
        limit = min(limit, max(1, options.table_bytes // MEBIBYTE))
    file = st.file_uploader("CSV or Parquet file", type=FILE_TYPES, key="table_file", max_upload_size=limit)
    if file is None:
        st.caption(
            f"Up to {limit} MB, with a header row, one column that contains each row's class, and numeric columns. "
            "Use the command line or the training service's API for larger tables."
        )
        return None
    if file.size > limit * MEBIBYTE:
        st.error(f"The file is larger than {limit} MB: train from it on the command line.", icon=":material/error:")
        return None
    source = f"file:{file.file_id}"
    unchecked = _check(client, source, file.name, file)
    target = st.selectbox(
        "Target column",
        [column.name for column in unchecked.columns],
        index=None,
        key=f"target:{file.file_id}",
        placeholder="Choose the column to predict",
    )
    if not target:
        return TrainingTable(file.name, unchecked, file)
    ignore = tuple(
        st.multiselect(
            "Columns to exclude",
            [column.name for column in unchecked.columns if column.name != target],
            key=f"ignore:{file.file_id}:{target}",
            placeholder="None",
            help="For example row numbers, texts, or values that are known only after the class.",
        )
    )
    checked = _check(client, source, file.name, file, target, ignore)
    return TrainingTable(file.name, checked, file, target, ignore)


def _check(
    client: TrainingClient,
    source: str,
    name: str,
    file: BinaryIO | None = None,
    target: str | None = None,
    ignore: tuple[str, ...] = (),
) -> CheckedTable:
    """Return the service's checks of the table, requested once for each target and set of excluded columns."""
    kept = st.session_state.get("checked")
    if not isinstance(kept, TableChecks) or kept.source != source:
        kept = st.session_state["checked"] = TableChecks(source)
    use = (target, ignore)
    if use not in kept.results:
        with st.spinner("Checking the table"):
            result = client.inspect(name) if file is None else client.inspect_file(name, file, target, ignore)
        kept.results[use] = result
    return kept.results[use]


def _show(table: TrainingTable) -> None:
    checked = table.checked
    names = [column.name for column in checked.columns]
    preview = pd.DataFrame([dict(zip(names, row, strict=False)) for row in checked.preview], columns=names)
    st.dataframe(preview, hide_index=True, alt="The first rows of the table")
    usable = sum(_use(column, table) == FEATURE for column in checked.columns)
    with st.expander(f"{plural(checked.rows, 'row')}, {plural(usable, 'feature')}", icon=":material/table:"):
        st.dataframe(_columns(table), hide_index=True, alt="The columns of the table")
        if checked.classes and len(checked.classes) <= MAX_BARS:
            total = sum(checked.classes.values()) or 1
            shares = {name: count / total for name, count in checked.classes.items()}
            chart = count_chart(checked.classes, theme())
            st.altair_chart(chart, alt=share_words("Share of the rows", shares), key="classes_of_table")
    if table.file is not None and table.target is None:
        st.info("Choose the target column to check the table.", icon=":material/arrow_upward:")
        return
    if checked.errors:
        st.error(_listed("The table cannot be used for training.", checked.errors), icon=":material/error:")
    if checked.warnings:
        st.warning(_listed("The checks found warnings.", checked.warnings), icon=":material/warning:")
    if not checked.errors and not checked.warnings:
        st.success("The table passes all checks.", icon=":material/check_circle:")


def _use(column: TableColumn, table: TrainingTable) -> str:
    if column.name == table.target:
        return "target"
    if column.name in table.ignore:
        return "excluded"
    return FEATURE if column.usable else "not usable"


def _columns(table: TrainingTable) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Column": column.name,
                "Type": column.dtype,
                "Use": _use(column, table),
                "Missing values": column.missing,
                "Minimum": column.minimum,
                "Maximum": column.maximum,
            }
            for column in table.checked.columns
        ]
    )


def _listed(head: str, texts: tuple[str, ...]) -> str:
    lines = [f"- {escape(text)}" for text in texts[:MAX_SENTENCES]]
    more = len(texts) - len(lines)
    return "\n".join([head, "", *lines, *([f"- and {more} more"] if more > 0 else [])])
