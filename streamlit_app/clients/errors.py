"""Why a service gave no usable answer: one sentence for what happened, and one for what to do."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FieldNote:
    """An error or a warning of the API about one field."""

    field: str
    message: str


class ApiError(Exception):
    """A call without a usable answer. `message` is what happened, `advice` what to do."""

    advice = "Try again. If the error persists, report the request id to the operator of the service."

    def __init__(
        self, message: str, *, request_id: str = "", fields: tuple[FieldNote, ...] = (), status: int = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id
        self.fields = fields
        self.status = status


class ApiAway(ApiError):
    """The service was not reached, or did not answer in time."""

    advice = "It may be starting or being updated: try again in a few seconds."


class ApiNotReady(ApiError):
    """The API runs without a model."""

    advice = "It recovers by itself as soon as a valid model is available: try again in a moment."


class InputRejected(ApiError):
    """The values do not fit the model; `fields` names them."""

    advice = "Correct these values and predict again."


class InputTooBig(ApiError):
    """The request is larger than the API accepts."""

    advice = "Send less at a time."


class ApiKeyRejected(ApiError):
    """The API requires a key, and the user interface has none or a wrong one."""

    advice = "The operator must set API_KEY of the user interface to a key that the API accepts."


class ApiUnexpected(ApiError):
    """An answer that is not part of the API's contract."""


class TokenRejected(ApiError):
    """The training service does not accept the admin token."""

    advice = "Look up the token at the training service and enter it again."


class TrainingUnreached(ApiAway):
    """No training service answers at the address."""

    advice = "It may be starting: try again in a few seconds. With Docker Compose it needs --profile training."


class TrainingRejected(ApiError):
    """The training service rejected the request; its sentence contains the reason and the next step."""

    advice = ""


def detail(body: dict[str, Any], max_length: int) -> str:
    """Return the sentence of a problem (RFC 9457), at most `max_length` characters; empty if it has none."""
    sentence = body.get("detail") or body.get("error")
    return sentence.strip()[:max_length] if isinstance(sentence, str) else ""


def field_notes(entries: Any) -> tuple[FieldNote, ...]:
    """Return the entries of `errors` or `warnings` in an answer."""
    if not isinstance(entries, list):
        return ()
    return tuple(
        FieldNote(str(entry.get("field", "")), str(entry.get("message", "")))
        for entry in entries
        if isinstance(entry, dict)
    )
