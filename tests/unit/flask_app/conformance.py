"""Validate an answer against the OpenAPI document of the model that computed it."""

import json
import re
from typing import Any

from flask import Flask
from jsonschema import Draft202012Validator
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from flask_app.openapi.document import make_document
from flask_app.settings import ApiSettings

# With keys, so that 401 is documented.
SETTINGS = ApiSettings(api_keys=f"test:{'0' * 64}")
# Longer answers take seconds to check, and show nothing new.
_MAX_BYTES = 200_000

_documents: dict[int, tuple[Any, dict[str, Any]]] = {}


def check(app: Flask, response: TestResponse) -> None:
    """Check that the document has the answer's status, type and JSON."""
    served = app.extensions["model_holder"].served
    if response.status_code < 200 or response.is_streamed or served is None or response.content_length == 0:
        return
    document = _document(served)
    operation = _operation(app, document, response)
    if response.status_code >= 400:
        assert response.mimetype == "application/problem+json", response.mimetype
        _validate(document, {"$ref": "#/components/schemas/ProblemDocument"}, response)
    if operation is None or response.status_code in (304, 206, 416):
        return
    documented = operation["responses"].get(str(response.status_code))
    assert documented, f"{response.request.path}: {response.status_code} is not documented"
    if "$ref" in documented:
        documented = document["components"]["responses"][documented["$ref"].rsplit("/", 1)[1]]
    for name, header in documented["headers"].items():
        required = document["components"]["headers"][name].get("required")
        assert name in response.headers or not required, f"{name} is missing"
        assert header
    media = documented["content"].get(response.mimetype)
    assert media, f"{response.request.path}: {response.mimetype} is not documented for {response.status_code}"
    if response.mimetype == "application/json":
        _validate(document, media["schema"], response)


def _document(served: Any) -> dict[str, Any]:
    known = _documents.get(id(served))
    if known is None or known[0] is not served:
        known = _documents[id(served)] = (served, make_document(served, SETTINGS))
    return known[1]


def _operation(app: Flask, document: dict[str, Any], response: TestResponse) -> dict[str, Any] | None:
    request = response.request
    try:
        rule, _ = app.url_map.bind("localhost").match(request.path, request.method, return_rule=True)
    except HTTPException:
        return None
    path = re.sub("<([a-z]+)>", r"{\1}", rule.rule)
    return document["paths"].get(path, {}).get(request.method.lower())


def _validate(document: dict[str, Any], schema: dict[str, Any], response: TestResponse) -> None:
    if len(response.data) > _MAX_BYTES:
        return
    validator = Draft202012Validator({**schema, "components": document["components"]})
    errors = [error.message[:300] for error in validator.iter_errors(json.loads(response.data))]
    assert errors == [], f"{response.request.path} {response.status_code}: {errors}"
