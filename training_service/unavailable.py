"""What the service depends on may fail: the registry, the token's file, the database. Each is a 503."""

import logging
import sqlite3

from flask import Flask, Response

from http_service.problems import Problem, problem_response, sentence
from http_service.request_id import current_request_id
from http_service.settings import SettingsError
from model_artifact.errors import RegistryError

_RETRY = {"Retry-After": "5"}


def init_app(app: Flask) -> None:
    """Answer these failures with 503 and the reason."""
    app.register_error_handler(RegistryError, _registry_failed)
    app.register_error_handler(SettingsError, lambda error: problem_response(Problem(503, str(error))))
    app.register_error_handler(sqlite3.Error, _database_failed)


def _registry_failed(error: RegistryError) -> Response:
    return problem_response(Problem(503, sentence(str(error)), headers=_RETRY))


def _database_failed(error: sqlite3.Error) -> Response:
    fields = {"reason": str(error), "request_id": current_request_id()}
    logging.getLogger(__name__).error("the database failed", extra=fields)
    return problem_response(Problem(503, f"TRAINING_DIR cannot be used now: {error}.", headers=_RETRY))
