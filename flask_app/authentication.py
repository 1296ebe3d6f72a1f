"""API keys: once some are configured, a request needs `Authorization: Bearer KEY` or `X-API-Key: KEY`."""

import sys

from flask import Flask, g, request

from flask_app.api_keys import KeyRing
from flask_app.settings import ApiSettings
from http_service.bearer import bearer_token, unauthorized

# Probes and scrapes carry no key, and a browser cannot send one when it opens a page. All other paths need one,
# unknown paths too.
_OPEN = frozenset(
    {"/health", "/ready", "/v2/health/live", "/v2/health/ready", "/metrics", "/openapi.json", "/docs", "/docs/"}
)
_OPEN_FOLDER = "/docs/"
_REALM = "flask-api"


def init_app(app: Flask, settings: ApiSettings) -> None:
    """Require a key for each request, if any is configured.

    Raises:
        SettingsError: API_KEYS is malformed.
    """
    keys = KeyRing(settings)
    if not keys.enabled:
        return

    @app.before_request
    def authenticate() -> None:
        if is_open(request.path):
            return
        key = request.headers.get("X-API-Key", "").strip() or bearer_token(request)
        if not key:
            raise unauthorized(_REALM, "Send an API key in the header Authorization: Bearer KEY or X-API-Key: KEY.")
        key_id = keys.identify(key)
        if key_id is None:
            raise unauthorized(_REALM, "This API key is not valid; ask the service's operator for another.", True)
        g.api_key_id = key_id


def is_open(path: str) -> bool:
    """Return whether requests to this path need no key."""
    return path in _OPEN or path.startswith(_OPEN_FOLDER)


if __name__ == "__main__":
    from flask_app.commands.keys import main

    sys.exit(main())
