"""Examples from the card: its golden rows with the model's answers."""

from itertools import chain
from typing import Any

import numpy as np

from flask_app.model.explanation import explanation_of
from flask_app.model.served_model import ServedModel

_REQUEST_ID = "9f2c4e0b6d1a4f5e8c7b3a2d1e0f9a8b"
_ROWS = 2


class Examples:
    """Requests and answers of one model; none of them counts as a prediction in the metrics."""

    def __init__(self, served: ServedModel) -> None:
        card = served.artifact.card
        names = [feature.name for feature in card.features]
        integers = [feature.dtype == "integer" for feature in card.features]
        golden = card.golden_rows[:_ROWS]
        rows = [
            [int(value) if integer else value for value, integer in zip(row.features, integers, strict=True)]
            for row in golden
        ]
        probabilities = [row.probabilities for row in golden]
        best = [row.index(max(row)) for row in probabilities]
        tail = {"model_version": served.version, "request_id": _REQUEST_ID}
        self.version = served.version
        self.model_name = card.model_name

        # One row, by name and as an array, and its answers.
        self.by_name = dict(zip(names, rows[0], strict=True))
        self.by_position = {"features": rows[0]}
        self.prediction = {
            "prediction": best[0],
            "class_name": card.classes[best[0]],
            "probabilities": dict(zip(card.classes, probabilities[0], strict=True)),
            **tail,
        }
        self.explanation = self.prediction | explanation_of(served, rows[0])

        # Many rows.
        self.rows = {"instances": [dict(zip(names, row, strict=True)) for row in rows]}
        self.predictions = {
            "predictions": best,
            "class_names": [card.classes[index] for index in best],
            "probabilities": probabilities,
            **tail,
        }
        self.csv = _csv([names, *rows])
        lines = [
            [*row, index, card.classes[index], *map(np.float32, shares)]
            for row, index, shares in zip(rows, best, probabilities, strict=True)
        ]
        head = [*names, "prediction", "class_name", *(f"probability_{name}" for name in card.classes)]
        self.csv_answer = _csv([head, *lines])

        # Tensors.
        tensor = {
            "name": "input-0",
            "shape": [len(rows), len(names)],
            "datatype": "FP32",
            "data": list(chain.from_iterable(rows)),
        }
        self.infer_request = {
            "id": "1",
            "inputs": [tensor],
            "outputs": [{"name": "predict"}, {"name": "predict_proba"}],
        }
        self.infer_answer = {
            "model_name": card.model_name,
            "model_version": served.version,
            "id": "1",
            "outputs": [
                _output("predict", "INT64", [len(best), 1], best),
                _output(
                    "predict_proba", "FP32", [len(best), len(card.classes)], list(chain.from_iterable(probabilities))
                ),
            ],
        }


def _output(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"content_type": "np"}, "data": data}


def _csv(lines: list[list[Any]]) -> str:
    return "".join(",".join(map(str, line)) + "\n" for line in lines)
