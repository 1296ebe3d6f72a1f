"""Who may ask: `Authorization: Bearer KEY` or `X-API-Key: KEY`, once keys are configured.

`python -m flask_app.authentication new ID` makes a key.
"""

import argparse
import re
import secrets
import sys

from flask import Flask, Request, g, request

from flask_app.api_keys import KeyRing, hash_key
from flask_app.problems import Problem
from flask_app.settings import Settings

# Probes and scrapes carry no key; a browser sends none for a page, and asks for one on it. All else is closed,
# unknown addresses too.
_OPEN = frozenset(
    {"/health", "/ready", "/v2/health/live", "/v2/health/ready", "/metrics", "/openapi.json", "/docs", "/docs/"}
)
_OPEN_FOLDER = "/docs/"

_REALM = 'Bearer realm="flask-api"'


def init_app(app: Flask, settings: Settings) -> None:
    """Ask each request for a key, if any is configured.

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
        key = _key(request)
        if not key:
            raise Problem(
                401,
                "Send an API key in the header Authorization: Bearer KEY or X-API-Key: KEY.",
                headers={"WWW-Authenticate": _REALM},
            )
        key_id = keys.identify(key)
        if key_id is None:
            raise Problem(
                401,
                "This API key is not valid; ask whoever runs the service for another.",
                headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token"'},
            )
        g.api_key_id = key_id


def is_open(path: str) -> bool:
    """Does a request to this path need no key?"""
    return path in _OPEN or path.startswith(_OPEN_FOLDER)


def _key(request: Request) -> str:
    key = request.headers.get("X-API-Key")
    if key:
        return key.strip()
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def main(arguments: list[str] | None = None) -> int:
    """Print a new key, once, and the entry for API_KEYS or API_KEYS_FILE; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flask_app.authentication", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="make a key")
    new.add_argument("id", help="who it is for; stands in the log: letters, digits, dot, dash and underscore")
    key_id = parser.parse_args(arguments).id
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", key_id):
        sys.stderr.write("The id must be 1 to 64 letters, digits, dots, dashes or underscores.\n")
        return 2
    key = secrets.token_urlsafe(32)
    sys.stdout.write(
        f"key, shown only now; give it to the client:\n  {key}\n"
        f"entry for API_KEYS or a line of API_KEYS_FILE:\n  {key_id}:{hash_key(key)}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
