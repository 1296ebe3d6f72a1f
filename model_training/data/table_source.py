"""Read the table that a configuration names: a built-in one, or a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from model_training.configuration import Configuration, read_toml
from model_training.data.datasets import DATASETS, DataError, Dataset
from model_training.data.table_file import MAX_NAME, make_dataset, read_table


def open_table(configuration: Configuration) -> pa.Table:
    """Return all columns; the last one of a built-in table is its classes.

    Raises:
        DataError: it cannot be read.
    """
    if configuration.data in DATASETS:
        return _as_table(DATASETS[configuration.data]())
    path = Path(configuration.data)
    if not path.exists():
        raise DataError(f"There is no table {path}; name {' or '.join(DATASETS)}, or a CSV or Parquet file.")
    return read_table(path)


def read_dataset(configuration: Configuration) -> Dataset:
    """Return the features and classes.

    Raises:
        DataError: it cannot be read, or a column cannot be used.
        ConfigurationError: the file of units cannot be read.
    """
    if configuration.data in DATASETS:
        dataset = DATASETS[configuration.data]()
        if configuration.target not in (None, dataset.target):
            raise DataError(f"The table {dataset.name} predicts {dataset.target}, not {configuration.target}.")
        if configuration.ignore or configuration.units:
            raise DataError(f"The table {dataset.name} is built in: it takes neither units nor columns to ignore.")
        return replace(dataset, name=configuration.name or dataset.name)
    return dataset_of(columns_of(open_table(configuration)), configuration)


def columns_of(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return the columns by name; each can be freed by itself."""
    return dict(zip(table.column_names, table.columns, strict=True))


def dataset_of(columns: dict[str, pa.ChunkedArray], configuration: Configuration) -> Dataset:
    """Return the features and classes of a file's columns, which are removed from `columns`.

    Raises:
        DataError: a column cannot be used.
        ConfigurationError: the file of units cannot be read.
    """
    return make_dataset(
        columns,
        # A default name is cut: the check of its length would come after the training.
        configuration.name or Path(configuration.data).stem[:MAX_NAME],
        configuration.target,
        configuration.ignore,
        read_toml(Path(configuration.units)) if configuration.units else {},
    )


def _as_table(dataset: Dataset) -> pa.Table:
    columns = {}
    for index, column in enumerate(dataset.columns):
        values = pa.array(dataset.X[:, index])
        columns[column.name] = values.cast(pa.int64()) if column.dtype == "integer" else values
    columns[dataset.target] = pa.array(dataset.classes).take(pa.array(dataset.y))
    return pa.table(columns)
