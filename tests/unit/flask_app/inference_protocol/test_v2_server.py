"""The Open Inference Protocol's addresses for a server and its model."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from model_artifact.store import ArtifactStore


@pytest.fixture(scope="module")
def served(trained_store: Path) -> str:
    """Return the version that the client's application serves."""
    return ArtifactStore(trained_store).current()


def test_the_server_has_metadata(client: FlaskClient) -> None:
    answer = client.get("/v2")
    assert answer.content_type == "application/json"
    assert answer.json == {"name": "flask-api", "version": "1.0.0", "extensions": ["binary_tensor_data"]}


def test_with_a_model_the_probes_succeed(client: FlaskClient) -> None:
    # tritonclient reads the status, KServe's client the body.
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}


def test_the_model_describes_its_inputs_and_outputs(client: FlaskClient, served: str) -> None:
    expected = {
        "name": "iris",
        "versions": [served],
        "platform": "xgboost_pickle",
        "inputs": [{"name": "input-0", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "predict", "datatype": "INT64", "shape": [-1, 1]},
            {"name": "predict_proba", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }
    assert client.get("/v2/models/iris").json == expected
    assert client.get(f"/v2/models/iris/versions/{served}").json == expected


def test_the_served_version_is_ready(client: FlaskClient, served: str) -> None:
    for path in ("/v2/models/iris/ready", f"/v2/models/iris/versions/{served}/ready"):
        assert client.get(path).json == {"name": "iris", "ready": True}


@pytest.mark.parametrize("suffix", ["", "/ready", "/infer"])
@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("wine", "There is no model 'wine' here; this service serves 'iris'."),
        ("IRIS", "There is no model 'IRIS' here"),
        ("x" * 5000, "There is no model 'x"),
        ("iris/versions/1", "Version '1' of iris is not served; the one served is "),
    ],
)
def test_another_model_or_version_is_404(client: FlaskClient, model: str, suffix: str, sentence: str) -> None:
    answer = client.open(f"/v2/models/{model}{suffix}", method="POST" if suffix == "/infer" else "GET", data=b"{")
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert answer.json["error"].startswith(sentence)
    assert len(answer.json["error"]) < 300


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/", 404),
        ("GET", "/v2/models/iris/", 404),
        ("GET", "/v2/models/iris/config", 404),
        ("GET", "/v2/models/iris/stats", 404),
        ("POST", "/v2/repository/index", 404),
        ("GET", "/v2/models/iris/infer", 405),
        ("POST", "/v2/models/iris", 405),
    ],
)
def test_other_calls_of_tritonclient_are_rejected(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.json["error"].endswith(".")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/health/ready"),
        ("GET", "/v2/models/iris"),
        ("GET", "/v2/models/iris/ready"),
        ("POST", "/v2/models/iris/infer"),
    ],
)
def test_without_a_model_the_reason_is_given(make_app: Any, tmp_path: Path, method: str, path: str) -> None:
    client = make_app(tmp_path / "nothing").test_client()
    assert client.get("/v2").status_code == client.get("/v2/health/live").status_code == 200
    answer = client.open(path, method=method, data=b"{")
    assert answer.status_code == 503
    assert answer.json["error"].startswith("No model is loaded: ")


def test_successful_probes_are_not_logged(client: FlaskClient, log: Any) -> None:
    client.get("/v2/health/live")
    client.get("/v2/health/ready")
    client.get("/v2")
    assert [line["path"] for line in log.lines("request")] == ["/v2"]
