"""Check a table before a training: its columns, its classes, errors and warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from model_training.configuration import Configuration
from model_training.data.checks import Findings, check
from model_training.data.datasets import DATASETS, DataError
from model_training.data.table_file import ColumnSummary, class_counts, preview, summarise
from model_training.data.table_source import columns_of, dataset_of, open_table, read_dataset


class Checked(msgspec.Struct, frozen=True):
    """What a check found; classes, with their rows, is None without a usable target."""

    name: str
    rows: int
    columns: list[ColumnSummary]
    classes: dict[str, int] | None
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    preview: list[list[Any]]

    def event(self) -> dict[str, Any]:
        """Return it as an event, for a program."""
        found = msgspec.to_builtins(self)
        return {"event": "checked", **{name: value for name, value in found.items() if name != "name"}}

    def text(self) -> str:
        """Return it as text, for a person."""
        width = max((len(column.name) for column in self.columns), default=0)
        lines = [f"{self.name}: {self.rows:,} rows, {len(self.columns)} columns"]
        for column in self.columns:
            bounds = "" if column.minimum is None else f"  {column.minimum:g} to {column.maximum:g}"
            missing = f"  {column.missing:,} missing" if column.missing else ""
            lines.append(f"  {column.name:<{width}}  {column.dtype:<7}{bounds}{missing}")
        for name, count in (self.classes or {}).items():
            lines.append(f"class {name}: {count:,} rows")
        lines += [f"warning: {text}" for text in self.warnings]
        lines += [f"error: {text}" for text in self.errors]
        return "\n".join(lines if self.errors or self.classes is None else [*lines, "fit to train from"])


def check_table(configuration: Configuration) -> Checked:
    """Read and check the table that a configuration names; without a target, only its columns.

    Raises:
        DataError: it cannot be read.
        ConfigurationError: the file of units cannot be read.
    """
    table = open_table(configuration)
    built_in = configuration.data in DATASETS
    target = DATASETS[configuration.data]().target if built_in else configuration.target
    classes, findings = None, Findings((), ())
    if target is not None:
        try:
            classes = class_counts(table, target)
            dataset = read_dataset(configuration) if built_in else dataset_of(columns_of(table), configuration)
            findings = check(dataset, configuration)
        except DataError as error:
            findings = Findings(error.sentences, ())
    return Checked(
        name=configuration.name or (configuration.data if built_in else Path(configuration.data).stem),
        rows=len(table),
        columns=summarise(table),
        classes=classes,
        errors=findings.errors,
        warnings=findings.warnings,
        preview=preview(table),
    )
