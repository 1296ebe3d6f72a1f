"""The answers of the training service as typed objects; a parser raises for an answer of another shape."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar

from streamlit_app.clients.json_values import mapping, number_or_none

Parsed = TypeVar("Parsed")

_READERS: Mapping[Any, Callable[[Any], Any]] = {
    bool: bool,
    str: lambda value: str(value or ""),
    int: lambda value: int(value or 0),
    float: lambda value: float(value or 0),
    float | None: number_or_none,
    Mapping[str, Any]: mapping,
    tuple[str, ...]: lambda value: tuple(map(str, value or ())),
}


def _parse(cls: type[Parsed], body: Mapping[str, Any], **known: Any) -> Parsed:
    """Return a dataclass from the members of `body` with its fields' names; `known` fields are not in it.

    Raises:
        KeyError: a field without a default is missing.
    """
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name not in known and (field.name in body or field.default is MISSING):
            known[field.name] = _READERS[field.type](body[field.name])
    return cls(**known)


@dataclass(frozen=True)
class ParameterInfo:
    """A hyperparameter of an estimator; `minimum` and `maximum` are None without a bound."""

    name: str
    integer: bool
    default: float
    minimum: float | None = None
    maximum: float | None = None
    help: str = ""


@dataclass(frozen=True)
class TrainingOptions:
    """What can be trained: built-in tables, estimators with their parameters, and the default configuration."""

    tables: tuple[str, ...]
    estimators: Mapping[str, tuple[ParameterInfo, ...]]
    defaults: Mapping[str, Any]
    table_bytes: int


@dataclass(frozen=True)
class TableColumn:
    """A column of a table; `usable`: it can be a feature."""

    name: str
    dtype: str
    usable: bool = False
    missing: int = 0
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class CheckedTable:
    """A table with the results of its checks; `classes` (rows by class) is empty without a target."""

    rows: int
    columns: tuple[TableColumn, ...]
    preview: tuple[tuple[Any, ...], ...]
    classes: Mapping[str, Any]
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingJob:
    """A training: its configuration, progress and result; times are ISO 8601.

    `table` is the name of the built-in table or of the file. `log` has the lines after the requested number.
    """

    id: str
    state: str
    table: str
    config: Mapping[str, Any]
    card: Mapping[str, Any]
    created_at: str = ""
    share: float = 0.0
    text: str = ""
    version: str = ""
    reason: str = ""
    log_lines: int = 0
    log: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        return self.state not in {"queued", "running"}


@dataclass(frozen=True)
class TrainedVersion:
    """One trained model; `gate` is empty for a model that the gate never evaluated."""

    name: str
    gate: Mapping[str, Any]
    data: Mapping[str, Any]
    model_name: str = ""
    trained_at: str = ""
    estimator: str = ""
    accuracy: float | None = None
    log_loss: float | None = None

    @property
    def is_rejected(self) -> bool:
        return bool(self.gate) and not self.gate.get("passed")


@dataclass(frozen=True)
class Versions:
    """All trained versions, the newest first; `champion` is the one that serves, empty without one."""

    champion: str
    versions: tuple[TrainedVersion, ...]
    last_training: Mapping[str, Any]


def parse_options(body: Any) -> TrainingOptions:
    estimators = {
        str(name): tuple(
            _parse(ParameterInfo, entry, name=str(key), integer=entry["kind"] == "integer")
            for key, entry in parameters.items()
        )
        for name, parameters in body["estimators"].items()
    }
    table_bytes = int(mapping(body.get("limits")).get("table_bytes") or 0)
    return TrainingOptions(tuple(map(str, body["tables"])), estimators, mapping(body.get("defaults")), table_bytes)


def parse_checked_table(body: Any) -> CheckedTable:
    return _parse(
        CheckedTable,
        body,
        columns=tuple(_parse(TableColumn, entry) for entry in body["columns"]),
        preview=tuple(map(tuple, body.get("preview") or ())),
        classes=mapping(body.get("classes")),
    )


def parse_job(body: Any) -> TrainingJob:
    table = str(body.get("data") or body.get("file_name") or "")
    job_config, card = mapping(body.get("config")), mapping(body.get("card"))
    return _parse(TrainingJob, body, table=table, config=job_config, card=card)


def parse_versions(body: Any) -> Versions:
    versions = tuple(
        _parse(
            TrainedVersion,
            entry,
            name=str(entry["version"]),
            gate=mapping(entry.get("gate")),
            data=mapping(entry.get("data")),
        )
        for entry in body["models"]
    )
    return Versions(str(body.get("champion") or ""), versions, mapping(body.get("last_training")))
