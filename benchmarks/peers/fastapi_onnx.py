"""FastAPI tuned: ONNX Runtime on one thread, answers by orjson instead of FastAPI's encoder, no thread pool."""

import os

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Response

from benchmarks.peers.fastapi_bodies import NAMES, IrisRow, Rows

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["ONNX_FILE"], options, providers=["CPUExecutionProvider"])
input_name = session.get_inputs()[0].name
label_name = session.get_outputs()[0].name

app = FastAPI()


def answer_row(row: list[float]) -> Response:
    """The class of one row."""
    labels = session.run([label_name], {input_name: np.array([row], dtype=np.float32)})[0]
    prediction = int(labels[0])
    content = {"prediction": prediction, "class_name": NAMES[prediction]}
    return Response(orjson.dumps(content), media_type="application/json")


def answer_rows(rows: list[list[float]]) -> Response:
    """The classes of many rows."""
    labels = session.run([label_name], {input_name: np.array(rows, dtype=np.float32)})[0]
    return Response(orjson.dumps({"predictions": labels.tolist()}), media_type="application/json")


@app.post("/predict")
async def predict(iris: IrisRow) -> Response:
    """One row."""
    return answer_row([iris.sepal_length, iris.sepal_width, iris.petal_length, iris.petal_width])


@app.post("/predict_rows")
async def predict_rows(body: Rows) -> Response:
    """Many rows."""
    return answer_rows(body.rows)
