"""The admin token: every request except a probe needs `Authorization: Bearer TOKEN`."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from flask import Flask, request

from http_service.bearer import bearer_token, unauthorized
from http_service.settings import SettingsError
from training_service.settings import TrainingServiceSettings

_OPEN = frozenset({"/health", "/ready"})
_REALM = "training-api"
_MIN_CHARACTERS = 16


class AdminToken:
    """The token of the settings, or else of the file, which may change while the service runs."""

    def __init__(self, settings: TrainingServiceSettings) -> None:
        """
        Raises:
            SettingsError: the token is too short, or the file can neither be read nor created.
        """
        self._fixed = settings.admin_token
        self._file = settings.token_file
        if not self._fixed:
            _create(self._file)
        self._token()

    def is_valid(self, given: str) -> bool:
        """Return whether this is the token. Compares digests in constant time.

        Raises:
            SettingsError: the file cannot be read or contains no token.
        """
        # Headers are Latin-1.
        found = hashlib.sha256(given.encode("latin-1", "replace")).digest()
        return hmac.compare_digest(found, hashlib.sha256(self._token().encode()).digest())

    def _token(self) -> str:
        name = "ADMIN_TOKEN" if self._fixed else f"ADMIN_TOKEN_FILE={str(self._file)!r}"
        try:
            token = self._fixed or self._file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not ASCII"
            raise SettingsError(f"{name} cannot be used: {reason}.") from None
        if len(token) < _MIN_CHARACTERS:
            raise SettingsError(
                f"{name} cannot be used: a token has {_MIN_CHARACTERS} characters or more;"
                " openssl rand -hex 32 makes one."
            )
        return token


def init_app(app: Flask, token: AdminToken) -> None:
    """Require the token for each request that is not a probe."""

    @app.before_request
    def authenticate() -> None:
        if request.path in _OPEN:
            return
        given = bearer_token(request)
        if not given:
            raise unauthorized(_REALM, "Send the admin token in the header Authorization: Bearer TOKEN.")
        if not token.is_valid(given):
            raise unauthorized(_REALM, "This is not the admin token; ask the service's operator for it.", True)


def _create(path: Path) -> None:
    """Write a new token into the file, unless it exists."""
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
