"""Compute the answer of `/explain`, independent of HTTP."""

from typing import Any

import numpy as np

from flask_app.model.prediction import predict_row
from flask_app.model.served_model import ServedModel


def explain_row(served: ServedModel, row: Any) -> dict[str, Any]:
    """Return the answer of `predict_row` with each feature's contribution to each class's margin, and base values.

    Raises:
        InvalidFields: the row does not match the model's features.
    """
    return predict_row(served, row) | explanation_of(served, served.row_schema.read(row))


def explanation_of(served: ServedModel, values: list[float]) -> dict[str, Any]:
    """Return `contributions` and `base_values` for valid values in the card's order."""
    contributions, base_values = served.artifact.model.explain(np.array([values], dtype=np.float32))
    card = served.artifact.card
    names = [feature.name for feature in card.features]
    return {
        "contributions": {
            label: dict(zip(names, parts, strict=True))
            for label, parts in zip(card.classes, contributions[0].tolist(), strict=True)
        },
        "base_values": dict(zip(card.classes, base_values[0].tolist(), strict=True)),
    }
