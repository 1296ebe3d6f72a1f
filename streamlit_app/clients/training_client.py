"""The training service over HTTP, with typed answers; what fails is an ApiError.

Knows nothing of Streamlit. The admin token is the caller's: it is in no message and no log.
"""

import json
import logging
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlsplit

import requests

from streamlit_app.clients.errors import ApiAway, ApiError, ApiUnexpected, json_object

CONNECT_TIMEOUT_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 15.0
# A table is sent and read before the answer comes: above the five minutes that the service gives a look at one.
TABLE_TIMEOUT_SECONDS = 330.0
LONGEST_SENTENCE = 2000

log = logging.getLogger("streamlit_app.training_client")

Answer = TypeVar("Answer")

_SENDABLE = re.compile(r"[!-~]+")


class TokenRefused(ApiError):
    """The service does not know the admin token."""

    advice = "Look it up where the service keeps it and enter it again."


class TrainingAway(ApiAway):
    """The training service cannot work now, or not in time."""


class TrainingUnreached(TrainingAway):
    """No training service was reached."""

    advice = "It may be starting: try again in a few seconds. With Docker Compose it needs --profile training."


class TrainingRefused(ApiError):
    """The service does not do what it was asked; its sentence says why and what to do."""

    advice = ""


@dataclass(frozen=True)
class ParameterInfo:
    """A hyperparameter that an estimator takes; `minimum` and `maximum` are None where there is no bound."""

    name: str
    integer: bool
    default: float
    minimum: float | None
    maximum: float | None
    help: str


@dataclass(frozen=True)
class Options:
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
    usable: bool
    missing: int
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True)
class CheckedTable:
    """What the checks say of a table; `classes` (rows by class) is None where no target was named."""

    rows: int
    columns: tuple[TableColumn, ...]
    classes: Mapping[str, int] | None
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    preview: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class TrainingJob:
    """A training: what was asked for, how far it is, and how it ended; times are ISO 8601.

    `table` is the built-in table's name or the file's. `log` has the lines that were asked for.
    """

    id: str
    state: str
    table: str
    config: Mapping[str, Any]
    force: bool
    created_at: str
    finished_at: str
    share: float
    text: str
    version: str
    reason: str
    card: Mapping[str, Any]
    log_lines: int
    log: tuple[str, ...]

    @property
    def is_over(self) -> bool:
        return self.state not in {"queued", "running"}


@dataclass(frozen=True)
class TrainedVersion:
    """One trained model; `gate` is empty for a model that was never judged."""

    name: str
    model_name: str
    trained_at: str
    estimator: str
    accuracy: float | None
    log_loss: float | None
    gate: Mapping[str, Any]
    data: Mapping[str, Any]

    @property
    def is_rejected(self) -> bool:
        return bool(self.gate) and not self.gate.get("passed")


@dataclass(frozen=True)
class Versions:
    """All that was trained, the newest first; `champion` is empty where none serves."""

    champion: str
    versions: tuple[TrainedVersion, ...]
    last_training: Mapping[str, Any]


class TrainingClient:
    """Calls to the service at `base_url` for whoever holds the admin token. Every method raises ApiError."""

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url.strip().rstrip("/")
        self._token = token.strip()

    def options(self) -> Options:
        return _read(_options, self._call("GET", "/options"))

    def inspect(self, table: str) -> CheckedTable:
        """Check a built-in table."""
        return _read(_checked, self._call("POST", "/inspect", {"data": table}))

    def inspect_file(self, name: str, file: BinaryIO, target: str | None, ignore: Sequence[str]) -> CheckedTable:
        """Check a file without the columns in `ignore`."""
        fields = ({"target": target} if target else {}) | ({"ignore": json.dumps(ignore)} if ignore else {})
        return _read(_checked, self._call("POST", "/inspect", fields, (name, file)))

    def train(self, table: str, config: Mapping[str, Any], *, force: bool) -> TrainingJob:
        """Ask for a training with a built-in table."""
        return _read(_job, self._call("POST", "/train", {"data": table, "config": config, "force": force}))

    def train_file(self, name: str, file: BinaryIO, config: Mapping[str, Any], *, force: bool) -> TrainingJob:
        """Ask for a training with a file."""
        fields = {"config": json.dumps(config), "force": json.dumps(force)}
        return _read(_job, self._call("POST", "/train", fields, (name, file)))

    def jobs(self) -> list[TrainingJob]:
        """All jobs, the newest first, without their logs."""
        return _read(lambda body: [_job(entry) for entry in body["jobs"]], self._call("GET", "/jobs"))

    def job(self, job_id: str, log_after: int = 0) -> TrainingJob:
        """One job with the lines of its log after the first so many."""
        return _read(_job, self._call("GET", f"/jobs/{quote(job_id, safe='')}?log_after={log_after}"))

    def cancel(self, job_id: str) -> None:
        self._call("POST", f"/jobs/{quote(job_id, safe='')}/cancel", {})

    def versions(self) -> Versions:
        return _read(_versions, self._call("GET", "/models"))

    def activate(self, version: str, *, force: bool) -> str:
        """Make a version champion; returns the champion."""
        body = self._call("POST", f"/models/{quote(version, safe='')}/activate", {"force": force})
        return str(body.get("champion") or version)

    def roll_back(self) -> str:
        """Make the champion before this one champion again; returns it."""
        return str(self._call("POST", "/rollback", {}).get("champion") or "")

    def _call(
        self,
        method: str,
        path: str,
        fields: Mapping[str, Any] | None = None,
        file: tuple[str, BinaryIO] | None = None,
    ) -> dict[str, Any]:
        """The JSON object of an answer with a status of 200 or 202; anything else is raised."""
        if urlsplit(self.base_url).scheme not in {"http", "https"}:
            log.error("TRAINING_API_URL=%r is not an address such as http://127.0.0.1:5001", self.base_url)
            raise ApiUnexpected("This page does not know where its training service is (TRAINING_API_URL).")
        # The HTTP library would repeat what it cannot send, and the log with it.
        if not _SENDABLE.fullmatch(self._token):
            raise TokenRefused("This is no admin token: it has characters that no token has.")
        request_id = uuid.uuid4().hex
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {self._token}",
            "X-Request-ID": request_id,
        }
        content: dict[str, Any] = {"json": fields} if fields is not None else {}
        if file is not None:
            file[1].seek(0)
            content = {"data": fields, "files": {"file": file}}
        patience = TABLE_TIMEOUT_SECONDS if method == "POST" else READ_TIMEOUT_SECONDS
        try:
            # A connection a call: a kept one may have been closed by the other side, and a training must not be asked
            # for twice.
            with requests.Session() as session:
                session.trust_env = False
                response = session.request(
                    method,
                    self.base_url + path,
                    headers=headers,
                    timeout=(CONNECT_TIMEOUT_SECONDS, patience),
                    allow_redirects=False,
                    **content,
                )
        except requests.Timeout as error:
            log.warning("%s %s request_id=%s: %s", method, path, request_id, error)
            raise TrainingAway("The training service did not answer in time.", request_id=request_id) from error
        except requests.RequestException as error:
            log.warning("%s %s request_id=%s: %s", method, path, request_id, error)
            raise TrainingUnreached("The training service does not answer.", request_id=request_id) from error
        body = json_object(response)
        if response.status_code not in {200, 202}:
            log.warning("%s %s request_id=%s: status %d", method, path, request_id, response.status_code)
            raise _failure(response.status_code, body, request_id)
        return body


def _failure(status: int, body: Mapping[str, Any], request_id: str) -> ApiError:
    detail = body.get("detail") or body.get("error")
    sentence = detail.strip()[:LONGEST_SENTENCE] if isinstance(detail, str) else ""
    told: dict[str, Any] = {"request_id": request_id, "status": status}
    if status == 401:
        return TokenRefused("The training service does not accept this token.", **told)
    if status in {502, 503, 504}:
        why = f"The training service cannot do this now: {sentence}" if sentence else ""
        return TrainingAway(why or "The training service does not answer.", **told)
    if status == 413:
        return TrainingRefused(sentence or "The table is larger than the training service takes.", **told)
    if status < 500 and sentence:
        return TrainingRefused(sentence, **told)
    return ApiUnexpected(f"The training service failed (status {status}).", **told)


def _read(parse: Callable[[Any], Answer], body: Any) -> Answer:
    try:
        return parse(body)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        log.warning("an answer of the training service: %r", error)
        raise ApiUnexpected("The training service gave an answer that this page does not understand.") from error


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _options(body: Any) -> Options:
    return Options(
        tables=tuple(str(name) for name in body["tables"]),
        estimators={
            str(name): tuple(
                ParameterInfo(
                    str(key),
                    told["kind"] == "integer",
                    float(told["default"]),
                    _number(told.get("minimum")),
                    _number(told.get("maximum")),
                    str(told.get("help") or ""),
                )
                for key, told in parameters.items()
            )
            for name, parameters in body["estimators"].items()
        },
        defaults=_mapping(body.get("defaults")),
        table_bytes=int(_mapping(body.get("limits")).get("table_bytes") or 0),
    )


def _checked(body: Any) -> CheckedTable:
    columns = tuple(
        TableColumn(
            str(entry["name"]),
            str(entry["dtype"]),
            bool(entry.get("usable")),
            int(entry.get("missing") or 0),
            _number(entry.get("minimum")),
            _number(entry.get("maximum")),
        )
        for entry in body["columns"]
    )
    classes = body.get("classes")
    return CheckedTable(
        rows=int(body["rows"]),
        columns=columns,
        classes={str(name): int(count) for name, count in classes.items()} if classes is not None else None,
        errors=tuple(str(text) for text in body.get("errors") or ()),
        warnings=tuple(str(text) for text in body.get("warnings") or ()),
        preview=tuple(tuple(row) for row in body.get("preview") or ()),
    )


def _job(body: Any) -> TrainingJob:
    return TrainingJob(
        id=str(body["id"]),
        state=str(body["state"]),
        table=str(body.get("data") or body.get("file_name") or ""),
        config=_mapping(body.get("config")),
        force=bool(body.get("force")),
        created_at=str(body.get("created_at") or ""),
        finished_at=str(body.get("finished_at") or ""),
        share=min(max(float(body.get("share") or 0), 0.0), 1.0),
        text=str(body.get("text") or ""),
        version=str(body.get("version") or ""),
        reason=str(body.get("reason") or ""),
        card=_mapping(body.get("card")),
        log_lines=int(body.get("log_lines") or 0),
        log=tuple(str(line) for line in body.get("log") or ()),
    )


def _versions(body: Any) -> Versions:
    versions = tuple(
        TrainedVersion(
            str(entry["version"]),
            str(entry.get("model_name") or ""),
            str(entry.get("trained_at") or ""),
            str(entry.get("estimator") or ""),
            _number(entry.get("accuracy")),
            _number(entry.get("log_loss")),
            _mapping(entry.get("gate")),
            _mapping(entry.get("data")),
        )
        for entry in body["models"]
    )
    return Versions(str(body.get("champion") or ""), versions, _mapping(body.get("last_training")))
