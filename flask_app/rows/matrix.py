"""Check many rows at once, and write many as JSON."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from http_service.problems import MAX_ERRORS, FieldError, InvalidFields
from model_artifact.card import Feature

# XGBoost computes in float32: a larger double would turn into infinity on its way in.
LARGEST = 3.4028234663852886e38

# Encoded at a time: some 2 ms, after which another thread gets its turn.
_ENCODED_NUMBERS = 32_768

_encode = msgspec.json.Encoder().encode


def check_matrix(features: list[Feature], matrix: NDArray[Any], first_row: int = 0) -> NDArray[np.float32]:
    """The rows, numbers of 32 or 64 bits, as float32, shape (n, features), in the features' order.

    first_row is the number of the first row, as errors name it.

    Raises:
        InvalidFields: a cell is not finite, beyond float32, or not whole where the feature is an integer; it names
            the first of these cells by row and feature.
    """
    if not all_good(features, matrix):
        bad = np.argwhere(~_good(features, matrix))
        raise InvalidFields(
            [
                _cell_error(features[column], float(matrix[row, column]), first_row + row)
                for row, column in bad[:MAX_ERRORS]
            ]
        )
    return np.ascontiguousarray(matrix, dtype=np.float32)


def all_good(features: list[Feature], matrix: NDArray[Any]) -> bool:
    """Are all cells finite, within float32, and whole where the feature is an integer?"""
    # NaN is what either gives where there is one, and it is within no bounds.
    with np.errstate(invalid="ignore"):
        lowest, highest = matrix.min(initial=0), matrix.max(initial=0)
    if not -LARGEST <= lowest <= highest <= LARGEST:
        return False
    whole = _whole(features)
    return not whole or bool((np.floor(matrix[:, whole]) == matrix[:, whole]).all())


def encode_numbers(numbers: NDArray[Any]) -> msgspec.Raw:
    """An array of at least one number as JSON, an axis a level of lists."""
    step = max(1, _ENCODED_NUMBERS * len(numbers) // numbers.size)
    pieces = [_encode(numbers[start : start + step].tolist())[1:-1] for start in range(0, len(numbers), step)]
    return msgspec.Raw(b"[%b]" % b",".join(pieces))


def _good(features: list[Feature], matrix: NDArray[Any]) -> NDArray[np.bool_]:
    # A signalling NaN warns on its way.
    with np.errstate(invalid="ignore"):
        good: NDArray[np.bool_] = np.abs(matrix) <= LARGEST
        whole = _whole(features)
        if whole:
            good[:, whole] &= np.floor(matrix[:, whole]) == matrix[:, whole]
    return good


def _whole(features: list[Feature]) -> list[int]:
    return [index for index, feature in enumerate(features) if feature.dtype == "integer"]


def _cell_error(feature: Feature, value: float, row: int) -> FieldError:
    if not np.isfinite(value):
        message = "must be a finite number"
    elif abs(value) > LARGEST:
        message = "must be a number that fits 32-bit floating point"
    else:
        message = "must be a whole number"
    return {"field": f"row {row}, {feature.name}", "message": message}
