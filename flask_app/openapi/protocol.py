"""The paths of the Open Inference Protocol."""

from typing import Any

from flask_app.inference_protocol.request import LENGTH_HEADER
from flask_app.openapi.examples import Examples
from flask_app.openapi.responses import BODY, answers, get_operation, good, json_content
from flask_app.openapi.schemas import reference

_TAG = "open inference protocol"
_LENGTH_SCHEMA = {"type": "integer", "minimum": 1}
_LENGTH_TEXT = "The length of the JSON if binary tensors follow it."
_LENGTH = {"name": LENGTH_HEADER, "in": "header", "description": _LENGTH_TEXT, "schema": _LENGTH_SCHEMA}


def make_paths(examples: Examples) -> dict[str, Any]:
    """Return every path below /v2; a model's paths exist with and without its version."""
    paths: dict[str, Any] = {
        "/v2": {"get": _get("server", "Name and extensions of the server", "ServerMetadata")},
        "/v2/health/live": {"get": _get("live", "Liveness probe", "ServerLive")},
        "/v2/health/ready": {"get": _get("server_ready", "Readiness probe", "ServerReady", 503)},
    }
    name = _parameter("name", "The model's name.", examples.model_name)
    version = _parameter("version", "The served version.", examples.version)
    for suffix, prefix, parameters in (
        ("", "/v2/models/{name}", [name]),
        ("_version", "/v2/models/{name}/versions/{version}", [name, version]),
    ):
        for path, method, operation in (
            ("", "get", _get(f"model{suffix}_metadata", "Input and output tensors", "ModelMetadata", 404, 503)),
            ("/ready", "get", _get(f"model{suffix}_ready", "Readiness probe of the model", "ModelReady", 404, 503)),
            ("/infer", "post", _infer(f"model{suffix}_infer", examples)),
        ):
            paths[prefix + path] = {method: {**operation, "parameters": parameters + operation.get("parameters", [])}}
    return paths


def _parameter(name: str, description: str, value: str) -> dict[str, Any]:
    schema = {"type": "string", "enum": [value]}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _get(operation_id: str, summary: str, schema: str, *problems: int) -> dict[str, Any]:
    return get_operation(operation_id, _TAG, summary, json_content(schema), *problems)


def _infer(operation_id: str, examples: Examples) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    content = json_content("InferResponse", both_outputs=examples.infer_answer)
    answer = good("The requested outputs.", {**content, "application/octet-stream": binary})
    answer["headers"][LENGTH_HEADER] = {
        "description": "In a binary answer, the length of its JSON; the tensors' bytes follow.",
        "schema": _LENGTH_SCHEMA,
    }
    request = {"schema": reference("InferRequest"), "examples": {"both_outputs": {"value": examples.infer_request}}}
    return {
        "operationId": operation_id,
        "summary": "Classes and probabilities of tensors",
        "description": (
            "One tensor `[rows, features]`, or one tensor a feature. The outputs are `predict` and `predict_proba`;"
            f" without `outputs` the answer is `predict`. In the binary form, the header {LENGTH_HEADER} gives the"
            " length of the JSON, and the bytes of the tensors follow it in little endian order."
        ),
        "tags": [_TAG],
        "parameters": [_LENGTH],
        "requestBody": {"required": True, "content": {"application/json": request, "application/octet-stream": binary}},
        "responses": answers(answer, 404, *BODY),
    }
