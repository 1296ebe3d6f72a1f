"""The types of the JSON answers: the OpenAPI document is generated from them, and tests check every answer."""

import msgspec
from msgspec import UNSET, UnsetType

# Ten times faster than json, with the same digits for a number.
encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """An answer has no members but its fields."""


class FieldMessage(Answer):
    """A field and a message about it."""

    field: str
    message: str


class ProblemDocument(Answer):
    """An error (RFC 9457): one sentence, and every invalid field by name.

    `error` repeats `detail` for clients of the original API.
    """

    type: str
    title: str
    status: int
    detail: str
    error: str
    request_id: str
    errors: list[FieldMessage]


class Health(Answer):
    """The process answers."""

    status: str


class Ready(Answer):
    """A model is loaded and reproduced its golden rows; `signature` is the result of the signature check."""

    status: str
    model_name: str
    model_version: str
    signature: str


class Prediction(Answer):
    """The class of one row: its index, its name, and the probability of each class.

    `warnings` is present if a value is outside its training range.
    """

    prediction: int
    class_name: str
    probabilities: dict[str, float]
    model_version: str
    request_id: str
    warnings: list[FieldMessage] | UnsetType = UNSET


class Explanation(Prediction, kw_only=True):
    """A prediction with each feature's contribution to each class's margin (log-odds), and the base values.

    A class's base value and contributions add up to its margin; softmax over the margins gives the probabilities.
    """

    contributions: dict[str, dict[str, float]]
    base_values: dict[str, float]


class Predictions(Answer):
    """The classes of many rows, in the rows' order; `probabilities` has one list a row, in the order of the classes.

    `warnings` names the first values outside the training range, and `warning_count` is the number of all.
    """

    predictions: list[int]
    class_names: list[str]
    probabilities: list[list[float]]
    model_version: str
    request_id: str
    warnings: list[FieldMessage] | UnsetType = UNSET
    warning_count: int | UnsetType = UNSET


class ServerLive(Answer):
    """The process answers."""

    live: bool


class ServerReady(Answer):
    """A model is loaded."""

    ready: bool


class ModelReady(Answer):
    """The named model is loaded."""

    name: str
    ready: bool
