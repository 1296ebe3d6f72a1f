"""Decode many valid rows of JSON from bytes to a matrix."""

import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from flask_app.rows.matrix import MAX_FLOAT32, all_good
from flask_app.rows.row_schema import row_by_name, row_by_position
from model_artifact.card import Feature

MEMBER = "instances"

# What a decoder raises for an invalid body.
DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class RowsDecoder:
    """Decodes `{"instances": [row, ...]}` with valid rows in one form.

    Any other body gives None and takes the slow path, so that one place reports each error.
    """

    def __init__(self, features: list[Feature]) -> None:
        names = [feature.name for feature in features]
        self._features = features
        # With a feature of this name, the body is one row.
        named = row_by_name(names)
        self._forms: list[tuple[msgspec.json.Decoder[Any], Callable[[Any], tuple[float, ...]], int]] = []
        if named and MEMBER not in names:
            self._forms.append((_rows(named), astuple, len(names)))
        if not {MEMBER, "features"} & set(names):
            self._forms.append((_rows(row_by_position(len(names))), attrgetter("features"), 1))

    def decode(self, body: bytes, max_rows: int) -> NDArray[np.float64] | None:
        """Return 1 to max_rows rows of valid numbers, shape (n, features); None for any other body."""
        found = self._decode(body)
        if found is None:
            return None
        values, names = found
        count = len(values) // len(self._features)
        # The decoder accepts a duplicate name; the number of quotes reveals it.
        if not 0 < count <= max_rows or body.count(b'"') != 2 + 2 * names * count:
            return None
        matrix = doubles(values).reshape(count, len(self._features))
        # The largest number itself may have been written as one just above it.
        if not all_good(self._features, matrix) or max(-matrix.min(), matrix.max()) == MAX_FLOAT32:
            return None
        return matrix

    def _decode(self, body: bytes) -> tuple[tuple[float, ...], int] | None:
        """Return the values of all rows, and the number of names in each row."""
        for decoder, values_of_row, names in self._forms:
            with suppress(*DECODING_ERRORS):
                rows = decoder.decode(body).instances
                return tuple(chain.from_iterable(map(values_of_row, rows))), names
        return None


def doubles(values: Iterable[float]) -> NDArray[np.float64]:
    """Return floats as an array, three times as fast as NumPy."""
    values = values if isinstance(values, tuple | list) else tuple(values)
    return np.frombuffer(struct.pack(f"={len(values)}d", *values))


def _rows(row: type[msgspec.Struct]) -> "msgspec.json.Decoder[Any]":
    body = msgspec.defstruct("Rows", [(MEMBER, list[row])], forbid_unknown_fields=True)  # type: ignore[valid-type]
    return msgspec.json.Decoder(body)
