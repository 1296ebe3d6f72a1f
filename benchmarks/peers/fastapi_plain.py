"""Plain FastAPI: a pydantic model, XGBClassifier.predict, a dict."""

import os
from typing import Any

import numpy as np
from fastapi import FastAPI
from xgboost import XGBClassifier

from benchmarks.peers.fastapi_bodies import NAMES, IrisRow, Rows

app = FastAPI()
model = XGBClassifier()
model.load_model(os.environ["MODEL_FILE"])


# Not `def`: FastAPI would run each call in a thread pool, which costs more than it saves here.
@app.post("/predict")
async def predict(iris: IrisRow) -> dict[str, Any]:
    """One row."""
    row = np.array([[iris.sepal_length, iris.sepal_width, iris.petal_length, iris.petal_width]])
    prediction = int(model.predict(row)[0])
    return {"prediction": prediction, "class_name": NAMES[prediction]}


@app.post("/predict_rows")
async def predict_rows(body: Rows) -> dict[str, Any]:
    """Many rows."""
    return {"predictions": model.predict(np.array(body.rows, dtype=np.float32)).tolist()}
