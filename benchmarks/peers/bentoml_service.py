"""BentoML: a service of two workers with XGBClassifier."""

import os
from typing import Any

import bentoml
import numpy as np
from xgboost import XGBClassifier

NAMES = ["setosa", "versicolor", "virginica"]


@bentoml.service(workers=2, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Iris:
    """The classifier."""

    def __init__(self) -> None:
        self.model = XGBClassifier()
        self.model.load_model(os.environ["MODEL_FILE"])

    @bentoml.api
    async def predict(
        self, sepal_length: float, sepal_width: float, petal_length: float, petal_width: float
    ) -> dict[str, Any]:
        """One row."""
        row = np.array([[sepal_length, sepal_width, petal_length, petal_width]])
        prediction = int(self.model.predict(row)[0])
        return {"prediction": prediction, "class_name": NAMES[prediction]}

    @bentoml.api
    async def predict_rows(self, rows: list[list[float]]) -> dict[str, Any]:
        """Many rows."""
        return {"predictions": self.model.predict(np.array(rows, dtype=np.float32)).tolist()}
