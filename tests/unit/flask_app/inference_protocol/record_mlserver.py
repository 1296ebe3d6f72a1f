"""Send the requests of test_v2_mlserver.py to a real MLServer with the same model, and record its answers.

    python3.12 -m venv mlserver && mlserver/bin/pip install mlserver==1.7.1 mlserver-xgboost==1.7.1
    .venv/bin/python -m tests.unit.flask_app.inference_protocol.record_mlserver mlserver/bin/mlserver artifacts

By hand and not in the tests: MLServer brings CUDA and a gigabyte, and its answers do not change.
"""

import json
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

from model_artifact.pickling import MODEL_FILE
from model_artifact.store import ArtifactStore

ANSWERS = Path(__file__).with_name("mlserver_answers.json")
PORT = 18080

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]
FLAT = [value for row in ROWS for value in row]
WHOLE = [[5, 3, 1, 0], [7, 3, 6, 2]]
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
PREDICT, PROBA = {"name": "predict"}, {"name": "predict_proba"}


def one(members: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a request with one tensor."""
    return {"inputs": [{"name": "input-0", "shape": [3, 4], "datatype": "FP32", "data": ROWS, **changes}]} | (
        members or {}
    )


def columns(shape: list[int]) -> dict[str, Any]:
    """Return a request with one tensor per feature, with MLServer's content type of a data frame."""
    inputs = [
        {"name": name, "shape": shape, "datatype": "FP64", "data": [row[index] for row in ROWS]}
        for index, name in enumerate(NAMES)
    ]
    return {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": [PREDICT, PROBA]}


REQUESTS = {
    "no outputs named": one(),
    "an empty list of outputs": one({"outputs": []}),
    "both outputs": one({"outputs": [PREDICT, PROBA]}),
    "both outputs, the other way round": one({"outputs": [PROBA, PREDICT]}),
    "probabilities alone": one({"outputs": [PROBA]}),
    "flat data": one({"outputs": [PREDICT, PROBA]}, data=FLAT),
    "data in one more pair of brackets": one({"outputs": [PREDICT, PROBA]}, data=[ROWS]),
    "another name": one(name="predict"),
    "FP64": one({"outputs": [PREDICT, PROBA]}, datatype="FP64"),
    "FP16": one({"outputs": [PREDICT, PROBA]}, datatype="FP16"),
    "INT32": one({"outputs": [PREDICT, PROBA]}, datatype="INT32", shape=[2, 4], data=WHOLE),
    "UINT8": one({"outputs": [PREDICT, PROBA]}, datatype="UINT8", shape=[2, 4], data=WHOLE),
    "one row": one({"outputs": [PREDICT, PROBA]}, shape=[1, 4], data=ROWS[0]),
    "content types": one(
        {"parameters": {"content_type": "np"}, "outputs": [{**PREDICT, "parameters": {"content_type": "np"}}]},
        parameters={"content_type": "np"},
    ),
    "an id": one({"id": "42"}),
    "null where nothing is": one({"id": None, "parameters": None, "outputs": None}, parameters=None),
    "unknown members": one({"model_name": "iris", "more": [1]}),
    "one tensor a feature, [n, 1]": columns([3, 1]),
    "one tensor a feature, [n]": columns([3]),
}


def main(mlserver: str, store: ArtifactStore) -> None:
    """Write ANSWERS."""
    booster = pickle.loads((store.folder(store.current()) / MODEL_FILE).read_bytes()).booster
    # Without this, MLServer uses the model as a regressor.
    booster.set_attr(scikit_learn=json.dumps({"_estimator_type": "classifier"}))
    with tempfile.TemporaryDirectory() as folder:
        booster.save_model(Path(folder) / "model.json")
        parameters = {"uri": "./model.json", "version": "v1"}
        model = {"name": "iris", "implementation": "mlserver_xgboost.XGBoostModel", "parameters": parameters}
        ports = {"http_port": PORT, "grpc_port": PORT + 1, "metrics_port": PORT + 2}
        (Path(folder) / "model-settings.json").write_text(json.dumps(model))
        (Path(folder) / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "parallel_workers": 0, **ports}))
        server = subprocess.Popen([mlserver, "start", folder])
        try:
            recorded = [{"title": title, "request": body, **ask(body)} for title, body in REQUESTS.items()]
        finally:
            server.terminate()
            server.wait()
    lines = ",\n".join(json.dumps(entry) for entry in recorded)
    ANSWERS.write_text(f"[\n{lines}\n]\n")


def ask(body: dict[str, Any]) -> dict[str, Any]:
    """Return the answer, once the server is ready."""
    for _ in range(60):
        try:
            answer = requests.post(f"http://127.0.0.1:{PORT}/v2/models/iris/infer", json=body, timeout=30)
            answer.raise_for_status()
            return {"answer": answer.json()}
        except requests.ConnectionError:
            time.sleep(1)
    raise TimeoutError("MLServer does not answer")


if __name__ == "__main__":
    main(sys.argv[1], ArtifactStore(Path(sys.argv[2])))
