"""LitServe: a LitAPI with XGBClassifier, two workers on the CPU and two HTTP servers in front of them."""

import os
import sys
from typing import Any

import litserve as ls
import numpy as np
from xgboost import XGBClassifier

NAMES = ["setosa", "versicolor", "virginica"]
FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


class IrisApi(ls.LitAPI):
    """One row as an object of features, or many as {"rows": [[...]]}."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        """In each worker."""
        self.model = XGBClassifier()
        self.model.load_model(os.environ["MODEL_FILE"])

    def decode_request(self, request: dict[str, Any]) -> Any:
        """JSON to a matrix."""
        rows = request["rows"] if "rows" in request else [[request[name] for name in FEATURES]]
        return np.array(rows, dtype=np.float32)

    def predict(self, matrix: Any) -> Any:
        """Classes."""
        return self.model.predict(matrix).tolist()

    def encode_response(self, classes: list[int]) -> dict[str, Any]:
        """Classes to JSON."""
        if len(classes) > 1:
            return {"predictions": classes}
        return {"prediction": classes[0], "class_name": NAMES[classes[0]]}


if __name__ == "__main__":
    server = ls.LitServer(IrisApi(), accelerator="cpu", workers_per_device=2, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=2,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
