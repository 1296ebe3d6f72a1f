"""From checked values to the answer of `/predict`, without a word of HTTP."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flask_app import metrics
from flask_app.model import shadow
from flask_app.model.served_model import ServedModel


def predict_row(served: ServedModel, row: Any) -> dict[str, Any]:
    """Class and probabilities of one row, in either form, with warnings for values outside the training range.

    Raises:
        InvalidFields: the row does not fit the model's features.
    """
    return predict_values(served, served.row_schema.read(row))


def predict_values(served: ServedModel, values: Sequence[float]) -> dict[str, Any]:
    """As `predict_row`, of checked values in the card's order."""
    probabilities = served.artifact.model.predict_one(values)
    prediction = probabilities.index(max(probabilities))
    card = served.artifact.card
    metrics.count_row(card, prediction)
    shadow.compare_row(served, values, prediction)
    answer: dict[str, Any] = {
        "prediction": prediction,
        "class_name": card.classes[prediction],
        "probabilities": dict(zip(card.classes, probabilities, strict=True)),
        "model_version": card.model_version,
    }
    warnings = served.row_schema.warnings(values)
    if warnings:
        answer["warnings"] = warnings
    return answer


def predict_matrix(served: ServedModel, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities, shape (n, classes), of checked rows, shape (n, features): all but single rows go through here."""
    probabilities = served.artifact.model.predict_proba(rows)
    metrics.count_rows(served.artifact.card, probabilities)
    shadow.compare(served, rows, probabilities)
    return probabilities
