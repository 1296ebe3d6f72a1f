"""Who may ask: `Authorization: Bearer TOKEN`."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from flask import Flask, request

from training_service.problems import Problem
from training_service.settings import Settings, SettingsError

# Probes carry none.
_OPEN = frozenset({"/health", "/ready"})
_REALM = 'Bearer realm="training-api"'
_SHORTEST = 16


class AdminToken:
    """The token of the settings, or else of the file, which may change while the service runs."""

    def __init__(self, settings: Settings) -> None:
        """
        Raises:
            SettingsError: the token is too short, or the file can neither be read nor made.
        """
        self._fixed = settings.admin_token
        self._file = settings.token_file
        if not self._fixed:
            _make(self._file)
        self._token()

    def is_good(self, given: str) -> bool:
        """Whether it is the token. Compares digests in full, so that time tells nothing.

        Raises:
            SettingsError: the file cannot be read, or holds no token.
        """
        # As it came over the wire.
        found = hashlib.sha256(given.encode("latin-1", "replace")).digest()
        return hmac.compare_digest(found, hashlib.sha256(self._token().encode()).digest())

    def _token(self) -> str:
        name = "ADMIN_TOKEN" if self._fixed else f"ADMIN_TOKEN_FILE={str(self._file)!r}"
        try:
            token = self._fixed or self._file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not ASCII"
            raise SettingsError(f"{name} cannot be used: {reason}.") from None
        if len(token) < _SHORTEST:
            raise SettingsError(
                f"{name} cannot be used: a token has {_SHORTEST} characters or more; openssl rand -hex 32 makes one."
            )
        return token


def init_app(app: Flask, token: AdminToken) -> None:
    """Ask each request for the token, but for the probes."""

    @app.before_request
    def authenticate() -> None:
        if request.path in _OPEN:
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise Problem(
                401,
                "Send the admin token in the header Authorization: Bearer TOKEN.",
                headers={"WWW-Authenticate": _REALM},
            )
        if not token.is_good(given.strip()):
            raise Problem(
                401,
                "This is not the admin token; ask whoever runs the service where it lies.",
                headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token"'},
            )


def _make(path: Path) -> None:
    """Write a new token into the file, if there is no such file."""
    if path.exists():
        return
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise SettingsError(
            f"ADMIN_TOKEN_FILE={str(path)!r} cannot be made: {error.strerror}; set ADMIN_TOKEN, or name another file."
        ) from None
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
