"""What can go wrong between a page and the API: one sentence on what happened, and one on what to do."""

from dataclasses import dataclass
from typing import Any

import requests


@dataclass(frozen=True)
class FieldNote:
    """What the API says of one field."""

    field: str
    message: str


class ApiError(Exception):
    """The API gave no answer that can be shown. `message` says what happened, `advice` what to do."""

    advice = "Try again. If it happens again, give the request id to whoever runs the service."

    def __init__(
        self, message: str, *, request_id: str = "", fields: tuple[FieldNote, ...] = (), status: int = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id
        self.fields = fields
        self.status = status


class ApiAway(ApiError):
    """No API was reached, or not in time."""

    advice = "It may be starting or being updated: try again in a few seconds."


class ApiNotReady(ApiError):
    """The API runs and has no model."""

    advice = "It recovers by itself as soon as a good model is in place: try again in a moment."


class InputRejected(ApiError):
    """The values do not fit the model; `fields` names them."""

    advice = "Change the values that are named and predict again."


class InputTooBig(ApiError):
    """More was sent than the API takes in one request."""

    advice = "Send less at a time."


class ApiKeyRefused(ApiError):
    """The API wants a key, and this page has none or another."""

    advice = "Whoever runs the service sets API_KEY of the user interface to a key that the API knows."


class ApiUnexpected(ApiError):
    """An answer that the API's contract does not know."""


def json_object(response: requests.Response) -> dict[str, Any]:
    """The decoded body, or an empty dict when it is not a JSON object (a proxy's HTML page, say)."""
    try:
        body = response.json()
    except requests.exceptions.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def field_messages(entries: Any) -> tuple[FieldNote, ...]:
    """The entries of `errors` or `warnings` in an answer."""
    if not isinstance(entries, list):
        return ()
    return tuple(
        FieldNote(str(entry.get("field", "")), str(entry.get("message", "")))
        for entry in entries
        if isinstance(entry, dict)
    )


def failure(response: requests.Response, request_id: str) -> ApiError:
    """The error that an answer other than 200 stands for."""
    body = json_object(response)
    detail = body.get("detail") or body.get("error")
    sentence = detail.strip()[:500] if isinstance(detail, str) else ""
    status = response.status_code
    told: dict[str, Any] = {"request_id": request_id, "status": status}
    if status == 422 and body:
        message = sentence or "The prediction service refused these values."
        return InputRejected(message, fields=field_messages(body.get("errors")), **told)
    if status == 401:
        return ApiKeyRefused("The prediction service does not accept the key of this page.", **told)
    if status == 413:
        return InputTooBig("This is more than the prediction service takes at once.", **told)
    if status == 503 and sentence:
        return ApiNotReady(f"The prediction service is not ready: {sentence}", **told)
    if status == 429:
        return ApiAway("The prediction service is busy.", **told)
    if status in {502, 503, 504}:
        return ApiAway("The prediction service does not answer.", **told)
    return ApiUnexpected(f"The prediction service failed (status {status}).", **told)
