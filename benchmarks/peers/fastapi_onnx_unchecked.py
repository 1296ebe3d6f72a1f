"""The tuned FastAPI without its validation: orjson both ways, no pydantic, no OpenAPI."""

import orjson
from fastapi import FastAPI, Request, Response

from benchmarks.peers.fastapi_onnx import answer_row, answer_rows

app = FastAPI(openapi_url=None)


@app.post("/predict")
async def predict(request: Request) -> Response:
    """One row."""
    data = orjson.loads(await request.body())
    return answer_row([data["sepal_length"], data["sepal_width"], data["petal_length"], data["petal_width"]])


@app.post("/predict_rows")
async def predict_rows(request: Request) -> Response:
    """Many rows, in the model's order."""
    return answer_rows(orjson.loads(await request.body())["rows"])
