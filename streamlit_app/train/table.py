"""The first step of a training: a built-in table or a visitor's file, what is in it, and what its checks say."""

from dataclasses import dataclass, field
from typing import BinaryIO

import pandas as pd
import streamlit as st

from streamlit_app.clients.errors import ApiError
from streamlit_app.clients.training_client import CheckedTable, Options, TableColumn, TrainingClient, TrainingJob
from streamlit_app.components.charts import count_chart, share_words
from streamlit_app.components.service import theme
from streamlit_app.components.text import escape, plural
from streamlit_app.train import session

BUILT_IN, FILE = "Built-in table", "Upload a file"
FILE_TYPES = ["csv", "txt", "parquet", "pq"]
FEATURE = "feature"
MEBIBYTE = 1024 * 1024
# A list of more is a page of its own; the rest is counted.
MOST_SENTENCES = 12
MOST_BARS = 40


@dataclass
class TrainingTable:
    """What a model shall be trained from, with what its checks said of it for this target.

    A built-in table has no file and knows its target; `ignore` names the columns that are left out.
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
        """Ask for a training. Raises ApiError."""
        if self.file is None:
            return client.train(self.name, config, force=force)
        whole = {**config, "target": self.target, "ignore": list(self.ignore)}
        return client.train_file(self.name, self.file, whole, force=force)


@dataclass
class Checks:
    """What was said of one source of rows, by the target and the columns that are left out."""

    source: str
    said: dict[tuple[str | None, tuple[str, ...]], CheckedTable] = field(default_factory=dict)


def choose_table(client: TrainingClient, options: Options) -> TrainingTable | None:
    """Draw the step; None as long as there is no table."""
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


def _built_in(client: TrainingClient, options: Options) -> TrainingTable | None:
    name = st.selectbox("Table", options.tables, key="built_in")
    if name is None:
        return None
    return TrainingTable(name, _check(client, f"built in:{name}", name))


def _file(client: TrainingClient, options: Options) -> TrainingTable | None:
    limit = int(st.get_option("server.maxUploadSize")) - 1
    if options.table_bytes:
        limit = min(limit, max(1, options.table_bytes // MEBIBYTE))
    file = st.file_uploader("CSV or Parquet file", type=FILE_TYPES, key="table_file", max_upload_size=limit)
    if file is None:
        st.caption(
            f"Up to {limit} MB: a header row, one column with the class of each row, and columns of numbers. "
            "Larger tables go to the command line or to the training service itself."
        )
        return None
    if file.size > limit * MEBIBYTE:
        st.error(f"The file is larger than {limit} MB: train from it on the command line.", icon=":material/error:")
        return None
    source = f"file:{file.file_id}"
    seen = _check(client, source, file.name, file)
    target = st.selectbox(
        "Target, the column to predict",
        [column.name for column in seen.columns],
        index=None,
        key=f"target:{file.file_id}",
        placeholder="Choose the column that holds the class",
    )
    if not target:
        return TrainingTable(file.name, seen, file)
    ignore = tuple(
        st.multiselect(
            "Columns to leave out",
            [column.name for column in seen.columns if column.name != target],
            key=f"ignore:{file.file_id}:{target}",
            placeholder="None",
            help="Such as the number of a row, a text, or what is only known after the class is.",
        )
    )
    return TrainingTable(file.name, _check(client, source, file.name, file, target, ignore), file, target, ignore)


def _check(
    client: TrainingClient,
    source: str,
    name: str,
    file: BinaryIO | None = None,
    target: str | None = None,
    ignore: tuple[str, ...] = (),
) -> CheckedTable:
    """What the service says of the table; asked once for each way to use it."""
    kept = st.session_state.get("checked")
    if not isinstance(kept, Checks) or kept.source != source:
        kept = st.session_state["checked"] = Checks(source)
    use = (target, ignore)
    if use not in kept.said:
        with st.spinner("Checking the table"):
            asked = client.inspect(name) if file is None else client.inspect_file(name, file, target, ignore)
        kept.said[use] = asked
    return kept.said[use]


def _show(table: TrainingTable) -> None:
    checked = table.checked
    names = [column.name for column in checked.columns]
    preview = pd.DataFrame([dict(zip(names, row, strict=False)) for row in checked.preview], columns=names)
    st.dataframe(preview, hide_index=True, alt="The first rows of the table")
    usable = sum(_use(column, table) == FEATURE for column in checked.columns)
    with st.expander(
        f"{plural(checked.rows, 'row')}, {plural(usable, 'column')} to learn from", icon=":material/table:"
    ):
        st.dataframe(_columns(table), hide_index=True, alt="The columns of the table")
        if checked.classes and len(checked.classes) <= MOST_BARS:
            total = sum(checked.classes.values()) or 1
            shares = {name: count / total for name, count in checked.classes.items()}
            chart = count_chart(checked.classes, theme())
            st.altair_chart(chart, alt=share_words("Share of the rows", shares), key="classes_of_table")
    if table.file is not None and table.target is None:
        st.info("Choose the target, and the table is checked.", icon=":material/arrow_upward:")
        return
    if checked.errors:
        st.error(_listed("Nothing can be trained from this table.", checked.errors), icon=":material/error:")
    if checked.warnings:
        st.warning(_listed("It can be trained from, but look at this.", checked.warnings), icon=":material/warning:")
    if not checked.errors and not checked.warnings:
        st.success("The checks found nothing amiss.", icon=":material/check_circle:")


def _use(column: TableColumn, table: TrainingTable) -> str:
    if column.name == table.target:
        return "target"
    if column.name in table.ignore:
        return "left out"
    return FEATURE if column.usable else "cannot be used"


def _columns(table: TrainingTable) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Column": column.name,
                "Kind": column.dtype,
                "Use": _use(column, table),
                "Missing": column.missing,
                "Minimum": column.minimum,
                "Maximum": column.maximum,
            }
            for column in table.checked.columns
        ]
    )


def _listed(head: str, texts: tuple[str, ...]) -> str:
    lines = [f"- {escape(text)}" for text in texts[:MOST_SENTENCES]]
    more = len(texts) - len(lines)
    return "\n".join([head, "", *lines, *([f"- and {more} more"] if more > 0 else [])])
