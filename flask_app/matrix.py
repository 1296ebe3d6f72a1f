"""Check many rows at once."""

import numpy as np
from numpy.typing import NDArray

from flask_app.problems import MAX_ERRORS, FieldError, InvalidFields
from model_training.schema import Feature

# XGBoost computes in float32: a larger double would turn into infinity on its way in.
LARGEST = 3.4028234663852886e38


def check_matrix(features: list[Feature], matrix: NDArray[np.float64], first_row: int = 0) -> NDArray[np.float32]:
    """The rows as float32, shape (n, features), in the features' order.

    first_row is the number of the first row, as errors name it.

    Raises:
        InvalidFields: a cell is not finite, beyond float32, or not whole where the feature is an integer; it names
            the first of these cells by row and feature.
    """
    good = np.abs(matrix) <= LARGEST
    whole = [index for index, feature in enumerate(features) if feature.dtype == "integer"]
    if whole:
        good[:, whole] &= np.floor(matrix[:, whole]) == matrix[:, whole]
    if not good.all():
        bad = np.argwhere(~good)
        raise InvalidFields(
            [
                _cell_error(features[column], float(matrix[row, column]), first_row + row)
                for row, column in bad[:MAX_ERRORS]
            ]
        )
    return np.ascontiguousarray(matrix, dtype=np.float32)


def _cell_error(feature: Feature, value: float, row: int) -> FieldError:
    if not np.isfinite(value):
        message = "must be a finite number"
    elif abs(value) > LARGEST:
        message = "must be a number that fits 32-bit floating point"
    else:
        message = "must be a whole number"
    return {"field": f"row {row}, {feature.name}", "message": message}
