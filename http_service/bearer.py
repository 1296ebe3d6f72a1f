"""`Authorization: Bearer TOKEN` (RFC 6750)."""

from flask import Request

from http_service.problems import Problem


def bearer_token(request: Request) -> str:
    """Return the token that the request carries; empty without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def unauthorized(realm: str, detail: str, is_invalid: bool = False) -> Problem:
    """Return the 401 for a missing token, or for an invalid one."""
    error = ', error="invalid_token"' if is_invalid else ""
    return Problem(401, detail, headers={"WWW-Authenticate": f'Bearer realm="{realm}"{error}'})
