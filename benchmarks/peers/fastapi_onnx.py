"""FastAPI tuned: ONNX Runtime on one thread, answers by orjson instead of FastAPI's encoder, no thread pool."""

import os

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Response
from pydantic import BaseModel

NAMES = ["setosa", "versicolor", "virginica"]

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["ONNX_FILE"], options, providers=["CPUExecutionProvider"])
input_name = session.get_inputs()[0].name
label_name = session.get_outputs()[0].name

app = FastAPI()


class Iris(BaseModel):
    """One row."""

    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


class Rows(BaseModel):
    """Many rows, in the model's order."""

    rows: list[list[float]]


def _answer(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


@app.post("/predict")
async def predict(iris: Iris) -> Response:
    """One row."""
    row = [iris.sepal_length, iris.sepal_width, iris.petal_length, iris.petal_width]
    labels = session.run([label_name], {input_name: np.array([row], dtype=np.float32)})[0]
    prediction = int(labels[0])
    return _answer({"prediction": prediction, "class_name": NAMES[prediction]})


@app.post("/predict_rows")
async def predict_rows(body: Rows) -> Response:
    """Many rows."""
    rows = np.array(body.rows, dtype=np.float32)
    return _answer({"predictions": session.run([label_name], {input_name: rows})[0].tolist()})
