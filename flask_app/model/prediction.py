"""Compute the answer of `/predict`, independent of HTTP."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flask_app import metrics
from flask_app.model import shadow
from flask_app.model.served_model import ServedModel
from flask_app.rows.instances import warnings_of
from flask_app.rows.matrix import encode_numbers


def predict_row(served: ServedModel, row: Any) -> dict[str, Any]:
    """Return class and probabilities of one row, in either form, with warnings for values outside the training range.

    Raises:
        InvalidFields: the row does not match the model's features.
    """
    return predict_values(served, served.row_schema.read(row))


def predict_values(served: ServedModel, values: Sequence[float]) -> dict[str, Any]:
    """Return the answer of `predict_row` for valid values in the card's order."""
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


def predict_rows(served: ServedModel, matrix: NDArray[np.float64]) -> dict[str, Any]:
    """Return classes and probabilities of valid rows, shape (n, features), in order, with warnings."""
    probabilities = predict_matrix(served, matrix.astype(np.float32))
    predictions = probabilities.argmax(axis=1)
    features, classes = served.artifact.card.features, served.artifact.card.classes
    answer: dict[str, Any] = {
        "predictions": predictions.tolist(),
        "class_names": np.array(classes, dtype=object)[predictions].tolist(),
        "probabilities": encode_numbers(probabilities),
        "model_version": served.version,
    }
    low = np.array([feature.minimum for feature in features])
    high = np.array([feature.maximum for feature in features])
    outside = np.argwhere((matrix < low) | (matrix > high))
    if len(outside):
        answer["warnings"] = warnings_of(served.row_schema, matrix, outside[:, 0])
        answer["warning_count"] = len(outside)
    return answer


def predict_matrix(served: ServedModel, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities, shape (n, classes), of valid rows, shape (n, features), and count the rows."""
    probabilities = served.artifact.model.predict_proba(rows)
    metrics.count_rows(served.artifact.card, probabilities)
    shadow.compare(served, rows, probabilities)
    return probabilities
