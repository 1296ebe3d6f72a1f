"""The request bodies of the FastAPI peers that validate."""

from pydantic import BaseModel

NAMES = ["setosa", "versicolor", "virginica"]


class IrisRow(BaseModel):
    """One row."""

    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


class Rows(BaseModel):
    """Many rows, in the model's order."""

    rows: list[list[float]]
