"""The OpenAPI document."""

import json
from typing import Any

from flask_app.api_keys import KeyRing
from flask_app.model.served_model import ServedModel
from flask_app.openapi import operations, protocol, security
from flask_app.openapi.examples import Examples
from flask_app.openapi.responses import make_headers, make_problems
from flask_app.openapi.schemas import make_schemas
from flask_app.settings import ApiSettings

_DESCRIPTION = """\
Predictions of the model `{name}`, version `{version}`, trained {trained}. Its features: {features}. Its classes: \
{classes}.

Every error is `application/problem+json` with one sentence. `X-Request-ID` is taken from the request or generated; \
header, body and logs contain it.
"""


class DocumentMaker:
    """Makes the document once for each served version; thread-safe."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._made: tuple[ServedModel, bytes] | None = None

    def document(self, served: ServedModel) -> bytes:
        """Return the OpenAPI 3.1 document of the served model as JSON."""
        made = self._made
        if made is None or made[0] is not served:
            # Two threads may make it at the same time, with the same result.
            made = self._made = (served, json.dumps(make_document(served, self._settings)).encode())
        return made[1]


def make_document(served: ServedModel, settings: ApiSettings) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document as a dict."""
    card = served.artifact.card
    examples = Examples(served)
    paths = operations.make_paths(examples, settings) | protocol.make_paths(examples)
    components = {"schemas": make_schemas(served, settings.max_rows), "headers": make_headers()}
    if KeyRing(settings).enabled:
        security.require_keys(paths)
        components["securitySchemes"] = security.SCHEMES
    components["responses"] = make_problems(_statuses(paths))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Prediction API",
            "version": card.model_version,
            "summary": f"Predictions of the model {card.model_name}.",
            "description": _DESCRIPTION.format(
                name=card.model_name,
                version=card.model_version,
                trained=card.trained_at,
                features=", ".join(f"{f.name} ({f.unit})" if f.unit else f.name for f in card.features),
                classes=", ".join(card.classes),
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": operations.TAGS,
        "paths": paths,
        "components": components,
    }


def _statuses(paths: dict[str, Any]) -> set[int]:
    """Return the statuses of all operations."""
    return {
        int(status)
        for path in paths.values()
        for operation in path.values()
        for status in operation.get("responses", ())
    }
