"""Many rows of JSON at once, from bytes to a matrix, where nothing about them is doubtful."""

import struct
from collections.abc import Iterable
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from flask_app.rows.matrix import LARGEST, all_good
from flask_app.rows.row_schema import row_by_name, row_by_position
from model_artifact.card import Feature

MEMBER = "instances"

# What a decoder raises at a body that it does not take.
DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class RowsDecoder:
    """Decodes `{"instances": [row, ...]}` with clean rows, all in the same form; it judges nothing else.

    Whoever asks goes the long way with what is left to him, so that each fault is found and worded in one place.
    """

    def __init__(self, features: list[Feature]) -> None:
        names = [feature.name for feature in features]
        self._features = features
        # A feature of that name would be a row's.
        named = row_by_name(names)
        self._by_name = _rows(named) if named and MEMBER not in names else None
        self._by_position = _rows(row_by_position(len(names))) if not {MEMBER, "features"} & set(names) else None

    def decode(self, body: bytes, max_rows: int) -> NDArray[np.float64] | None:
        """The rows, shape (n, features), all of them good numbers; None for anything but 1 to max_rows of them."""
        found = self._decode_by_name(body) or self._decode_by_position(body)
        if found is None:
            return None
        values, names = found
        count = len(values) // len(self._features)
        # A name that stands twice is a fault, and the decoder took the last of them: count the quotes of all names.
        if not 0 < count <= max_rows or body.count(b'"') != 2 + 2 * names * count:
            return None
        matrix = doubles(values).reshape(count, len(self._features))
        # The largest number itself may have been written as one just above it.
        if not all_good(self._features, matrix) or max(-matrix.min(), matrix.max()) == LARGEST:
            return None
        return matrix

    def _decode_by_name(self, body: bytes) -> tuple[tuple[float, ...], int] | None:
        if self._by_name is None:
            return None
        try:
            rows = self._by_name.decode(body).instances
        except DECODING_ERRORS:
            return None
        return tuple(chain.from_iterable(map(astuple, rows))), len(self._features)

    def _decode_by_position(self, body: bytes) -> tuple[tuple[float, ...], int] | None:
        if self._by_position is None:
            return None
        try:
            rows = self._by_position.decode(body).instances
        except DECODING_ERRORS:
            return None
        return tuple(chain.from_iterable(map(attrgetter("features"), rows))), 1


def doubles(values: Iterable[float]) -> NDArray[np.float64]:
    """Floats as an array, three times as fast as NumPy makes one."""
    values = values if isinstance(values, tuple | list) else tuple(values)
    return np.frombuffer(struct.pack(f"={len(values)}d", *values))


def _rows(row: type[msgspec.Struct]) -> "msgspec.json.Decoder[Any]":
    body = msgspec.defstruct("Rows", [(MEMBER, list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type]
    return msgspec.json.Decoder(body)
