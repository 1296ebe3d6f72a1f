"""Print the results of KServe's Python client as JSON; test_v2_kserve.py runs this in KServe's own environment.

Usage: python kserve_client.py http://127.0.0.1:5000      with the rows, as a JSON array, on standard input
"""

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


async def main(url: str, rows: Any) -> dict[str, Any]:
    """Return the result of each call."""
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        found: dict[str, Any] = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model ready": await client.is_model_ready(url, "iris"),
            "other model ready": await client.is_model_ready(url, "wine"),
        }
        for binary_in in (True, False):
            for binary_out in (True, False):
                tensor = InferInput("input-0", list(rows.shape), "FP32")
                tensor.set_data_from_numpy(rows, binary_data=binary_in)
                outputs = [RequestedOutput(name, {"binary_data": binary_out}) for name in ("predict", "predict_proba")]
                answer = await client.infer(url, InferRequest("iris", [tensor], "7", request_outputs=outputs), "iris")
                found[f"binary in {binary_in}, out {binary_out}"] = {
                    "id": answer.id,
                    **{output.name: output.as_numpy().tolist() for output in answer.outputs},
                }
        try:
            await client.infer(url, {"inputs": []}, "iris")
        except httpx.HTTPStatusError as error:
            found["error"] = [error.response.status_code, error.response.json()["error"]]
    return found


if __name__ == "__main__":
    given = np.array(json.load(sys.stdin), np.float32)
    print(json.dumps(asyncio.run(main(sys.argv[1], given))))
