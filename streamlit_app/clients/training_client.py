"""The training service over HTTP, with typed answers. It does not depend on Streamlit."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO
from urllib.parse import quote

import requests

from streamlit_app.clients.errors import (
    ApiAway,
    ApiError,
    ApiUnexpected,
    TokenRejected,
    TrainingRejected,
    TrainingUnreached,
    detail,
)
from streamlit_app.clients.http_client import HttpClient
from streamlit_app.clients.json_values import json_object
from streamlit_app.clients.training_answers import (
    CheckedTable,
    Parsed,
    TrainingJob,
    TrainingOptions,
    Versions,
    parse_checked_table,
    parse_job,
    parse_options,
    parse_versions,
)

READ_TIMEOUT_SECONDS = 15.0
# The service checks a table before it answers, for at most five minutes.
TABLE_TIMEOUT_SECONDS = 330.0
MAX_SENTENCE = 2000

log = logging.getLogger(__name__)


class TrainingClient(HttpClient):
    """Calls to the training service with the admin token as the key. Every method raises ApiError."""

    service, setting = "training service", "TRAINING_API_URL"
    unreached = TrainingUnreached

    def options(self) -> TrainingOptions:
        return _read(parse_options, self._get("/options"))

    def inspect(self, table: str) -> CheckedTable:
        """Check a built-in table."""
        return _read(parse_checked_table, self._post("/inspect", {"data": table}))

    def inspect_file(self, name: str, file: BinaryIO, target: str | None, ignore: Sequence[str]) -> CheckedTable:
        """Check a file without the columns in `ignore`."""
        fields = ({"target": target} if target else {}) | ({"ignore": json.dumps(ignore)} if ignore else {})
        return _read(parse_checked_table, self._post("/inspect", fields, (name, file)))

    def train(self, table: str, config: Mapping[str, Any], *, force: bool) -> TrainingJob:
        """Start a training with a built-in table."""
        return _read(parse_job, self._post("/train", {"data": table, "config": config, "force": force}))

    def train_file(self, name: str, file: BinaryIO, config: Mapping[str, Any], *, force: bool) -> TrainingJob:
        """Start a training with a file."""
        fields = {"config": json.dumps(config), "force": json.dumps(force)}
        return _read(parse_job, self._post("/train", fields, (name, file)))

    def jobs(self) -> list[TrainingJob]:
        """Return all jobs, the newest first, without their logs."""
        return _read(lambda body: [parse_job(entry) for entry in body["jobs"]], self._get("/jobs"))

    def job(self, job_id: str, log_after: int = 0) -> TrainingJob:
        """Return one job with the lines of its log after the first `log_after`."""
        return _read(parse_job, self._get(f"/jobs/{quote(job_id, safe='')}?log_after={log_after}"))

    def cancel(self, job_id: str) -> None:
        self._post(f"/jobs/{quote(job_id, safe='')}/cancel", {})

    def versions(self) -> Versions:
        return _read(parse_versions, self._get("/models"))

    def activate(self, version: str, *, force: bool) -> str:
        """Promote a version; return the champion."""
        body = self._post(f"/models/{quote(version, safe='')}/activate", {"force": force})
        return str(body.get("champion") or version)

    def roll_back(self) -> str:
        """Promote the champion before this one; return it."""
        return str(self._post("/rollback", {}).get("champion") or "")

    def _get(self, path: str) -> dict[str, Any]:
        return json_object(self._call("GET", path, READ_TIMEOUT_SECONDS)[0])

    def _post(self, path: str, fields: Mapping[str, Any], file: tuple[str, BinaryIO] | None = None) -> dict[str, Any]:
        content: dict[str, Any] = {"json": fields}
        if file is not None:
            file[1].seek(0)
            content = {"data": fields, "files": {"file": file}}
        return json_object(self._call("POST", path, TABLE_TIMEOUT_SECONDS, **content)[0])

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        # A new connection for each call: a kept-alive one may be closed already, and repeating the request could start
        # a second training.
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.base_url + path, **arguments)

    def _unsendable_key(self) -> ApiError:
        return TokenRejected("The admin token contains invalid characters.")

    def _failure(self, response: requests.Response, request_id: str) -> ApiError:
        status, sentence = response.status_code, detail(json_object(response), MAX_SENTENCE)
        known: dict[str, Any] = {"request_id": request_id, "status": status}
        if status == 401:
            return TokenRejected("The training service does not accept this token.", **known)
        if status in {502, 503, 504}:
            why = f"The training service cannot do this now: {sentence}" if sentence else ""
            return ApiAway(why or "The training service does not answer.", **known)
        if status == 413:
            return TrainingRejected(sentence or "The table is larger than the training service accepts.", **known)
        if status < 500 and sentence:
            return TrainingRejected(sentence, **known)
        return ApiUnexpected(f"The training service failed (status {status}).", **known)


def _read(parse: Callable[[Any], Parsed], body: Any) -> Parsed:
    try:
        return parse(body)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        log.warning("an answer of the training service: %r", error)
        raise ApiUnexpected("The training service returned an unexpected answer.") from error
