"""From checked values to the answer of `/predict`, without a word of HTTP."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flask_app import metrics
from flask_app.served_model import ServedModel


def predict_row(served: ServedModel, row: Any) -> dict[str, Any]:
    """Class and probabilities of one row, in either form, with warnings for values outside the training range.

    Raises:
        InvalidFields: the row does not fit the model's features.
    """
    values = served.row_schema.read(row)
    probabilities = predict_matrix(served, np.array([values], dtype=np.float32))[0]
    prediction = int(probabilities.argmax())
    classes = served.artifact.card.classes
    answer: dict[str, Any] = {
        "prediction": prediction,
        "class_name": classes[prediction],
        "probabilities": dict(zip(classes, probabilities.tolist(), strict=True)),
        "model_version": served.version,
    }
    warnings = served.row_schema.warnings(values)
    if warnings:
        answer["warnings"] = warnings
    return answer


def predict_matrix(served: ServedModel, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities, shape (n, classes), of checked rows, shape (n, features): every prediction goes through here."""
    probabilities = served.artifact.model.predict_proba(rows)
    metrics.count_rows(served.artifact.card, probabilities)
    return probabilities
