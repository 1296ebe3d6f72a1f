"""From checked values to the answer of `/explain`, without a word of HTTP."""

from typing import Any

import numpy as np

from flask_app.model.prediction import predict_row
from flask_app.model.served_model import ServedModel


def explain_row(served: ServedModel, row: Any) -> dict[str, Any]:
    """The answer of `predict_row` with what each feature adds to each class's margin, and the base values.

    Raises:
        InvalidFields: the row does not fit the model's features.
    """
    return predict_row(served, row) | explanation_of(served, served.row_schema.read(row))


def explanation_of(served: ServedModel, values: list[float]) -> dict[str, Any]:
    """The members `contributions` and `base_values` for checked values, in the card's order."""
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
