"""The Open Inference Protocol, through Nginx and directly: plain requests, and NVIDIA's client for it."""

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.system.conftest import Target

SETOSA = [5.1, 3.5, 1.4, 0.2]
LENGTH = "Inference-Header-Content-Length"

Ask = Callable[..., requests.Response]


@pytest.fixture(params=["nginx", "direct"])
def base(request: pytest.FixtureRequest, target: Target) -> str:
    """The address of the API."""
    address = target.base_url if request.param == "nginx" else target.api_url
    if address is None:
        pytest.skip("the API's own address is not known: set API_URL")
    return address


@pytest.fixture
def ask(base: str, http: requests.Session) -> Ask:
    """Send a request to the API."""
    return lambda method, path, **options: http.request(method, base + path, timeout=30, **options)


@pytest.fixture
def card(ask: Ask) -> dict[str, Any]:
    """The card of the model that serves."""
    return ask("GET", "/model").json()


def ten_thousand(card: dict[str, Any]) -> Any:
    """Rows in the training range of the model."""
    low, high = zip(*((feature["minimum"], feature["maximum"]) for feature in card["features"]), strict=True)
    return np.random.default_rng(7).uniform(low, high, (10_000, len(low))).astype(np.float32)


def one_by_one(ask: Ask, rows: Any) -> list[list[float]]:
    """Return the probabilities of rows from `/predict`."""
    answers = [ask("POST", "/predict", json={"features": row}).json() for row in rows.tolist()]
    return [list(answer["probabilities"].values()) for answer in answers]


def test_server_model_and_probes(ask: Ask, card: dict[str, Any]) -> None:
    assert "binary_tensor_data" in ask("GET", "/v2").json()["extensions"]
    assert ask("GET", "/v2/health/live").json() == {"live": True}
    assert ask("GET", "/v2/health/ready").json() == {"ready": True}
    name, version = card["model_name"], card["model_version"]
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{version}"):
        assert ask("GET", f"{path}/ready").json() == {"name": name, "ready": True}
        metadata = ask("GET", path).json()
        assert (metadata["name"], metadata["versions"]) == (name, [version])
        assert [output["name"] for output in metadata["outputs"]] == ["predict", "predict_proba"]


def test_json(ask: Ask, card: dict[str, Any]) -> None:
    message = {
        "id": "42",
        "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [SETOSA]}],
        "outputs": [{"name": "predict"}, {"name": "predict_proba"}],
    }
    answer = ask("POST", f"/v2/models/{card['model_name']}/infer", json=message, headers={"X-Request-ID": "mine"})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (200, "mine")
    body = answer.json()
    assert (body["id"], body["model_version"]) == ("42", card["model_version"])
    predict, proba = body["outputs"]
    assert (predict["shape"], predict["datatype"], predict["data"]) == ([1, 1], "INT64", [0])
    assert (proba["shape"], proba["datatype"]) == ([1, 3], "FP32")
    assert proba["data"] == one_by_one(ask, np.array([SETOSA]))[0]


def test_binary_both_ways(ask: Ask, card: dict[str, Any]) -> None:
    raw = np.array([SETOSA], "<f8").tobytes()
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP64", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    path = f"/v2/models/{card['model_name']}/infer"
    answer = ask("POST", path, data=head + raw, headers={LENGTH: str(len(head))})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/octet-stream")
    length = int(answer.headers[LENGTH])
    assert json.loads(answer.content[:length])["outputs"][0]["parameters"]["binary_data_size"] == 8
    assert np.frombuffer(answer.content[length:], "<i8").tolist() == [0]


@pytest.mark.parametrize(
    ("path", "changes", "headers", "status"),
    [
        ("wine/infer", {}, {}, 404),
        ("iris/versions/none/infer", {}, {}, 404),
        ("iris/config", {}, {}, 404),
        ("iris/infer", {"shape": [2, 4]}, {}, 422),
        ("iris/infer", {"shape": [2**62, 4]}, {}, 413),
        ("iris/infer", {"datatype": "BYTES"}, {}, 422),
        ("iris/infer", {"data": [5.1, 3.5, 1.4, True]}, {}, 422),
        ("iris/infer", {}, {LENGTH: "100000"}, 400),
        ("iris/infer", {}, {"Content-Type": "text/csv"}, 415),
    ],
)
def test_errors_are_problems(
    ask: Ask, path: str, changes: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    message = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": SETOSA, **changes}]}
    answer = ask("POST", f"/v2/models/{path}", json=message, headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert problem["error"] == problem["detail"] and problem["error"].endswith(".")


def test_tritons_client(base: str, target: Target, ask: Ask, card: dict[str, Any]) -> None:
    rows = ten_thousand(card)
    scheme, address = base.split("://")
    client = triton.InferenceServerClient(address, ssl=scheme == "https", ssl_context_factory=lambda **_: trust(target))
    name = card["model_name"]
    assert client.is_server_ready() and client.is_model_ready(name)
    result = client.infer(name, inputs(triton, rows), outputs=outputs(triton))
    with pytest.raises(InferenceServerException, match="There is no model 'wine' here"):
        client.infer("wine", inputs(triton, rows))
    client.close()
    check(ask, rows, result)


def test_tritons_asyncio_client(base: str, target: Target, ask: Ask, card: dict[str, Any]) -> None:
    rows = ten_thousand(card)
    scheme, address = base.split("://")

    async def infer() -> list[Any]:
        async with triton_aio.InferenceServerClient(
            address, ssl=scheme == "https", ssl_context=trust(target)
        ) as client:
            asked = [
                client.infer(card["model_name"], inputs(triton_aio, rows), outputs=outputs(triton_aio))
                for _ in range(4)
            ]
            return await asyncio.gather(*asked)

    for result in asyncio.run(infer()):
        check(ask, rows, result)


def trust(target: Target) -> ssl.SSLContext:
    """Return a context that trusts the target's certificate authority."""
    context = ssl.create_default_context(cafile=target.ca_cert)
    if not target.ca_cert:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def inputs(library: Any, rows: Any) -> list[Any]:
    tensor = library.InferInput("input-0", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    return [tensor]


def outputs(library: Any) -> list[Any]:
    return [library.InferRequestedOutput(name) for name in ("predict", "predict_proba")]


def check(ask: Ask, rows: Any, result: Any) -> None:
    """Check that each class is the most probable one, and that a sample has the probabilities of `/predict`."""
    classes, probabilities = result.as_numpy("predict"), result.as_numpy("predict_proba")
    assert classes.shape == (len(rows), 1)
    assert np.array_equal(classes[:, 0], probabilities.argmax(axis=1))
    sample = slice(None, None, 2000)
    assert probabilities[sample].tolist() == one_by_one(ask, rows[sample])
