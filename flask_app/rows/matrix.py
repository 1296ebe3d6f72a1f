"""Validate many rows at once, and encode many as JSON."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from http_service.problems import MAX_ERRORS, FieldError, InvalidFields
from model_artifact.card import Feature

# XGBoost computes in float32; a larger double would become infinity.
MAX_FLOAT32 = 3.4028234663852886e38

# Numbers encoded at once: about 2 ms, after which another thread may run.
_MAX_NUMBERS = 32_768

_encode = msgspec.json.Encoder().encode


def check_matrix(features: Sequence[Feature], matrix: NDArray[Any], first_row: int = 0) -> NDArray[np.float32]:
    """Return rows of 32-bit or 64-bit floats as float32, shape (n, features), in the features' order.

    first_row is the number of the first row in errors.

    Raises:
        InvalidFields: a cell is not finite, beyond float32, or not whole for an integer feature; it names the first
            such cells by row and feature.
    """
    if not are_valid(features, matrix):
        bad = np.argwhere(~_valid(features, matrix))
        raise InvalidFields(
            [
                _cell_error(features[column], float(matrix[row, column]), first_row + row)
                for row, column in bad[:MAX_ERRORS]
            ]
        )
    return np.ascontiguousarray(matrix, dtype=np.float32)


def are_valid(features: Sequence[Feature], matrix: NDArray[Any]) -> bool:
    """Return whether all cells are finite, within float32, and whole for integer features."""
    # min and max of an array with NaN are NaN, which fails the comparison.
    with np.errstate(invalid="ignore"):
        lowest, highest = matrix.min(initial=0), matrix.max(initial=0)
    if not -MAX_FLOAT32 <= lowest <= highest <= MAX_FLOAT32:
        return False
    whole = _whole(features)
    return not whole or bool((np.floor(matrix[:, whole]) == matrix[:, whole]).all())


def encode_numbers(numbers: NDArray[Any]) -> msgspec.Raw:
    """Return a non-empty array as nested JSON lists."""
    step = max(1, _MAX_NUMBERS * len(numbers) // numbers.size)
    pieces = [_encode(numbers[start : start + step].tolist())[1:-1] for start in range(0, len(numbers), step)]
    return msgspec.Raw(b"[%b]" % b",".join(pieces))


def _valid(features: Sequence[Feature], matrix: NDArray[Any]) -> NDArray[np.bool_]:
    # A signalling NaN would warn.
    with np.errstate(invalid="ignore"):
        valid: NDArray[np.bool_] = np.abs(matrix) <= MAX_FLOAT32
        whole = _whole(features)
        if whole:
            valid[:, whole] &= np.floor(matrix[:, whole]) == matrix[:, whole]
    return valid


def _whole(features: Sequence[Feature]) -> list[int]:
    return [index for index, feature in enumerate(features) if feature.dtype == "integer"]


def _cell_error(feature: Feature, value: float, row: int) -> FieldError:
    if not np.isfinite(value):
        message = "must be a finite number"
    elif abs(value) > MAX_FLOAT32:
        message = "must be a number that fits 32-bit floating point"
    else:
        message = "must be a whole number"
    return {"field": f"row {row}, {feature.name}", "message": message}
