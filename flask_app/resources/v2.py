"""`/v2`: the Open Inference Protocol, for the clients of Triton, MLServer and KServe."""

import msgspec
from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from flask_app.inference_protocol.inference import infer, model_metadata
from flask_app.inference_protocol.messages import EXTENSIONS, SERVER_NAME, SERVER_VERSION, ServerMetadata
from flask_app.inference_protocol.request import LENGTH_HEADER, read_request
from flask_app.model.served_model import ModelHolder, ServedModel
from flask_app.settings import ApiSettings
from http_service.body import read_body
from http_service.problems import Problem

_MODEL = "/v2/models/<name>"
_VERSION = "/v2/models/<name>/versions/<version>"
_MAX_SHOWN = 100


def blueprint(holder: ModelHolder, settings: ApiSettings) -> Blueprint:
    """Return the protocol's endpoints."""
    v2 = Blueprint("v2", __name__)

    @v2.get("/v2")
    def server() -> ResponseReturnValue:
        """Return name, version and extensions of this server."""
        return _json(ServerMetadata(name=SERVER_NAME, version=SERVER_VERSION, extensions=EXTENSIONS))

    @v2.get("/v2/health/live")
    def live() -> ResponseReturnValue:
        """Answer 200 while the process runs."""
        return {"live": True}

    @v2.get("/v2/health/ready")
    def ready() -> ResponseReturnValue:
        """Answer 200 if a model is loaded, else 503 with the reason."""
        holder.require()
        return {"ready": True}

    @v2.get(_MODEL)
    @v2.get(_VERSION)
    def model(name: str, version: str | None = None) -> ResponseReturnValue:
        """Return the model's input and output tensors."""
        return _json(model_metadata(_served(holder, name, version)))

    @v2.get(f"{_MODEL}/ready")
    @v2.get(f"{_VERSION}/ready")
    def model_ready(name: str, version: str | None = None) -> ResponseReturnValue:
        """Answer 200 if this model is loaded, 404 for another, 503 without any."""
        _served(holder, name, version)
        return {"name": name, "ready": True}

    @v2.post(f"{_MODEL}/infer")
    @v2.post(f"{_VERSION}/infer")
    def model_infer(name: str, version: str | None = None) -> ResponseReturnValue:
        """Predict the rows of the input tensors."""
        # Read before any error: Gunicorn resets a connection with more than 64 KiB unread, and the answer is lost.
        body = read_body(request, settings.max_body_bytes)
        served = _served(holder, name, version)
        _check_declared()
        message, binary = read_request(body, request.headers.get(LENGTH_HEADER))
        answer, raw = infer(served, message, binary, settings.max_rows)
        header = msgspec.json.encode(answer)
        if not any(raw):
            return Response(header, content_type="application/json")
        response = Response(b"".join([header, *raw]), content_type="application/octet-stream")
        response.headers[LENGTH_HEADER] = str(len(header))
        return response

    return v2


def _served(holder: ModelHolder, name: str, version: str | None) -> ServedModel:
    served = holder.require()
    model_name = served.artifact.card.model_name
    if name != model_name:
        raise Problem(404, f"There is no model {name[:_MAX_SHOWN]!r} here; this service serves {model_name!r}.")
    if version not in (None, served.version):
        raise Problem(
            404,
            f"Version {(version or '')[:_MAX_SHOWN]!r} of {name} is not served; the one served is {served.version}.",
        )
    return served


def _check_declared() -> None:
    # For JSON, tritonclient sends no Content-Type, and its asyncio client sends application/octet-stream.
    mimetype = request.mimetype
    if mimetype not in ("", "application/octet-stream", "application/json") and not mimetype.endswith("+json"):
        raise Problem(
            415,
            "Send the request as Content-Type: application/json, or application/octet-stream with binary data,"
            f" not {mimetype[:100]}.",
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Send the body without Content-Encoding; this service does not unpack requests.")


def _json(message: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(message), content_type="application/json")
