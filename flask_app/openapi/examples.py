"""Examples from the card: its golden rows with the model's answers."""

from typing import Any

import numpy as np

from flask_app.model.explanation import explanation_of
from flask_app.model.served_model import ServedModel

_REQUEST_ID = "9f2c4e0b6d1a4f5e8c7b3a2d1e0f9a8b"
_ROWS = 2


class Examples:
    """Requests and answers of one model; none of them counts as a prediction in the metrics."""

    def __init__(self, served: ServedModel) -> None:
        self._card = served.artifact.card
        self._names = [feature.name for feature in self._card.features]
        self._rows = [self._values(row.features) for row in self._card.golden_rows[:_ROWS]]
        self._probabilities = [row.probabilities for row in self._card.golden_rows[:_ROWS]]
        self._best = [row.index(max(row)) for row in self._probabilities]
        self._explanation = explanation_of(served, self._rows[0])
        self._tail = {"model_version": served.version, "request_id": _REQUEST_ID}
        self.version = served.version
        self.model_name = self._card.model_name

    @property
    def by_name(self) -> dict[str, Any]:
        """One row by name."""
        return self._named(self._rows[0])

    @property
    def by_position(self) -> dict[str, Any]:
        """The same row as an array."""
        return {"features": self._rows[0]}

    @property
    def prediction(self) -> dict[str, Any]:
        """The answer to that row."""
        return {
            "prediction": self._best[0],
            "class_name": self._card.classes[self._best[0]],
            "probabilities": dict(zip(self._card.classes, self._probabilities[0], strict=True)),
            **self._tail,
        }

    @property
    def explanation(self) -> dict[str, Any]:
        """The answer with contributions."""
        return self.prediction | self._explanation

    @property
    def rows(self) -> dict[str, Any]:
        """Many rows."""
        return {"instances": [self._named(row) for row in self._rows]}

    @property
    def predictions(self) -> dict[str, Any]:
        """The answer to many rows."""
        return {
            "predictions": self._best,
            "class_names": [self._card.classes[best] for best in self._best],
            "probabilities": self._probabilities,
            **self._tail,
        }

    @property
    def csv(self) -> str:
        """The rows as CSV."""
        return _csv([self._names, *self._rows])

    @property
    def csv_answer(self) -> str:
        """The answer to the CSV file."""
        head = [*self._names, "prediction", "class_name", *(f"probability_{name}" for name in self._card.classes)]
        lines = [
            [*row, best, self._card.classes[best], *map(np.float32, probabilities)]
            for row, best, probabilities in zip(self._rows, self._best, self._probabilities, strict=True)
        ]
        return _csv([head, *lines])

    @property
    def infer_request(self) -> dict[str, Any]:
        """The rows as a tensor."""
        flat = [value for row in self._rows for value in row]
        tensor = {"name": "input-0", "shape": [len(self._rows), len(self._names)], "datatype": "FP32", "data": flat}
        return {"id": "1", "inputs": [tensor], "outputs": [{"name": "predict"}, {"name": "predict_proba"}]}

    @property
    def infer_answer(self) -> dict[str, Any]:
        """The answer to the tensor."""
        flat = [value for row in self._probabilities for value in row]
        parameters = {"parameters": {"content_type": "np"}}
        classes = {"name": "predict", "shape": [len(self._best), 1], "datatype": "INT64", **parameters}
        shape = [len(self._best), len(self._card.classes)]
        probabilities = {"name": "predict_proba", "shape": shape, "datatype": "FP32", **parameters}
        return {
            "model_name": self.model_name,
            "model_version": self.version,
            "id": "1",
            "outputs": [{**classes, "data": self._best}, {**probabilities, "data": flat}],
        }

    def _named(self, row: list[float]) -> dict[str, float]:
        return dict(zip(self._names, row, strict=True))

    def _values(self, row: list[float]) -> list[float]:
        return [
            int(value) if feature.dtype == "integer" else value
            for feature, value in zip(self._card.features, row, strict=True)
        ]


def _csv(lines: list[list[Any]]) -> str:
    return "".join(",".join(map(str, line)) + "\n" for line in lines)
