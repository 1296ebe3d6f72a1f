"""The document's security, if API keys are configured."""

from typing import Any

from flask_app.authentication import is_open
from flask_app.openapi.responses import problem

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The API key: `Authorization: Bearer KEY`."},
    "api_key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key: `X-API-Key: KEY`.",
    },
}


def require_keys(paths: dict[str, Any]) -> None:
    """Add the key to each operation that needs one."""
    for path, operations in paths.items():
        for operation in operations.values():
            if is_open(path):
                operation["security"] = []
            else:
                operation["security"] = [{name: []} for name in SCHEMES]
                operation["responses"]["401"] = problem(401)
