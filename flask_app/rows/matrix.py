"""Check many rows at once, and write many as JSON."""

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from http_service.problems import MAX_ERRORS, InvalidFields
from model_artifact.card import Feature

# XGBoost computes in float32: a larger double would become infinity.
MAX_FLOAT32 = 3.4028234663852886e38

# Encoded at a time: about 2 ms, after which another thread can run.
_ENCODED_NUMBERS = 32_768

_encode = msgspec.json.Encoder().encode


def check_matrix(features: list[Feature], matrix: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows of 32- or 64-bit numbers as float32, shape (n, features), in the features' order.

    Raises:
        InvalidFields: a cell is not finite, beyond float32, or not whole where the feature is an integer; it names
            the first of these cells by row, counted from 0, and feature.
    """
    if not all_good(features, matrix):
        bad = np.argwhere(bad_cells(features, matrix))[:MAX_ERRORS].tolist()
        faults = ((row, features[column], float(matrix[row, column])) for row, column in bad)
        raise InvalidFields(
            [{"field": f"row {row}, {f.name}", "message": number_fault(f, value) or ""} for row, f, value in faults]
        )
    return np.ascontiguousarray(matrix, dtype=np.float32)


def all_good(features: list[Feature], matrix: NDArray[Any]) -> bool:
    """Return whether all cells are finite, within float32, and whole where the feature is an integer."""
    # The minimum of numbers with a NaN is NaN, which no comparison accepts.
    with np.errstate(invalid="ignore"):
        lowest, highest = matrix.min(initial=0), matrix.max(initial=0)
    if not -MAX_FLOAT32 <= lowest <= highest <= MAX_FLOAT32:
        return False
    whole = _whole(features)
    return not whole or bool((np.floor(matrix[:, whole]) == matrix[:, whole]).all())


def bad_cells(features: list[Feature], matrix: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which cells fail `all_good`, shape (n, features)."""
    # A signalling NaN causes a warning.
    with np.errstate(invalid="ignore"):
        bad: NDArray[np.bool_] = ~(np.abs(matrix) <= MAX_FLOAT32)
        if whole := _whole(features):
            bad[:, whole] |= np.floor(matrix[:, whole]) != matrix[:, whole]
    return bad


def number_fault(feature: Feature, value: float) -> str | None:
    """Return what is wrong with a number as the feature's value; None if nothing is."""
    if value != value or value in (math.inf, -math.inf):
        return "must be a finite number"
    if not -MAX_FLOAT32 <= value <= MAX_FLOAT32:
        return "must be a number that fits 32-bit floating point"
    if feature.dtype == "integer" and value != int(value):
        return "must be a whole number"
    return None


def encode_numbers(numbers: NDArray[Any]) -> msgspec.Raw:
    """Return an array of at least one number as JSON, one level of lists for each axis."""
    step = max(1, _ENCODED_NUMBERS * len(numbers) // numbers.size)
    pieces = [_encode(numbers[start : start + step].tolist())[1:-1] for start in range(0, len(numbers), step)]
    return msgspec.Raw(b"[%b]" % b",".join(pieces))


def _whole(features: list[Feature]) -> list[int]:
    return [index for index, feature in enumerate(features) if feature.dtype == "integer"]
