"""FastAPI without its validation: ONNX Runtime on one thread, orjson both ways, no pydantic, no OpenAPI."""

import os

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Request, Response

NAMES = ["setosa", "versicolor", "virginica"]

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["ONNX_FILE"], options, providers=["CPUExecutionProvider"])
input_name = session.get_inputs()[0].name
label_name = session.get_outputs()[0].name

app = FastAPI(openapi_url=None)


def _answer(content: object) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


@app.post("/predict")
async def predict(request: Request) -> Response:
    """One row."""
    data = orjson.loads(await request.body())
    row = [data["sepal_length"], data["sepal_width"], data["petal_length"], data["petal_width"]]
    labels = session.run([label_name], {input_name: np.array([row], dtype=np.float32)})[0]
    prediction = int(labels[0])
    return _answer({"prediction": prediction, "class_name": NAMES[prediction]})


@app.post("/predict_rows")
async def predict_rows(request: Request) -> Response:
    """Many rows, in the model's order."""
    rows = np.array(orjson.loads(await request.body())["rows"], dtype=np.float32)
    return _answer({"predictions": session.run([label_name], {input_name: rows})[0].tolist()})
