"""The first step of a training: a built-in table or a visitor's file, what is in it, and what its checks say."""

from dataclasses import dataclass, field
from typing import BinaryIO

import pandas as pd
import streamlit as st

import train_session
from api_errors import ApiError
from charts import count_chart, share_words
from service import theme
from text import escape, plural
from training_client import CheckedTable, Job, Options, TrainingClient

BUILT_IN, FILE = "Built-in table", "Upload a file"
FILE_TYPES = ["csv", "txt", "parquet", "pq"]
MEBIBYTE = 1024 * 1024
# A list of more is a page of its own; the rest is counted.
MOST_SENTENCES = 12
MOST_BARS = 40


@dataclass
class Table:
    """What a model shall be trained from, with what its checks said of it for this target.

    A built-in table has no file and knows its target.
    """

    name: str
    file: BinaryIO | None
    target: str | None
    checked: CheckedTable

    @property
    def is_usable(self) -> bool:
        return not self.checked.errors and (self.file is None or self.target is not None)

    def train(self, client: TrainingClient, config: dict[str, object], *, force: bool) -> Job:
        """Ask for a training. Raises ApiError."""
        if self.file is None:
            return client.train(self.name, config, force=force)
        return client.train_file(self.name, self.file, {**config, "target": self.target}, force=force)


@dataclass
class Checks:
    """What was said of one source of rows, with and without a target."""

    source: str
    by_target: dict[str | None, CheckedTable] = field(default_factory=dict)


def choose_table(client: TrainingClient, options: Options) -> Table | None:
    """Draw the step; None as long as there is no table."""
    st.subheader("1 · Table", anchor=False)
    source = st.segmented_control("Source", [BUILT_IN, FILE], default=BUILT_IN, required=True, key="source")
    try:
        table = _built_in(client, options) if source == BUILT_IN else _file(client, options)
    except ApiError as error:
        train_session.show_error(error)
        st.button("Try again", key="check_again")
        return None
    if table is not None:
        _show(table)
    return table


def _built_in(client: TrainingClient, options: Options) -> Table | None:
    name = st.selectbox("Table", options.tables, key="built_in")
    if name is None:
        return None
    return Table(name, None, None, _check(client, f"built in:{name}", name, None, None))


def _file(client: TrainingClient, options: Options) -> Table | None:
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
    seen = _check(client, source, file.name, file, None)
    target = st.selectbox(
        "Target, the column to predict",
        [column.name for column in seen.columns],
        index=None,
        key=f"target:{file.file_id}",
        placeholder="Choose the column that holds the class",
    )
    checked = _check(client, source, file.name, file, target) if target else seen
    return Table(file.name, file, target, checked)


def _check(client: TrainingClient, source: str, name: str, file: BinaryIO | None, target: str | None) -> CheckedTable:
    """What the service says of the table; asked once for each table and target."""
    kept = st.session_state.get("checked")
    if not isinstance(kept, Checks) or kept.source != source:
        kept = st.session_state["checked"] = Checks(source)
    if target not in kept.by_target:
        with st.spinner("Checking the table"):
            kept.by_target[target] = (
                client.inspect(name, target) if file is None else client.inspect_file(name, file, target)
            )
    return kept.by_target[target]


def _show(table: Table) -> None:
    checked = table.checked
    names = [column.name for column in checked.columns]
    preview = pd.DataFrame([dict(zip(names, row, strict=False)) for row in checked.preview], columns=names)
    st.dataframe(preview, hide_index=True, alt="The first rows of the table")
    usable = sum(column.usable and column.name != table.target for column in checked.columns)
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


def _columns(table: Table) -> pd.DataFrame:
    def use(name: str, usable: bool) -> str:
        return "target" if name == table.target else "feature" if usable else "cannot be used"

    return pd.DataFrame(
        [
            {
                "Column": column.name,
                "Kind": column.dtype,
                "Use": use(column.name, column.usable),
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
