"""A small application with the shared parts of the services."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from http_service.application import make_app
from http_service.body import read_body
from http_service.logs import JsonFormatter

MAX_BYTES = 1000


@pytest.fixture
def app() -> Flask:
    app = make_app(__name__)

    @app.post("/echo")
    def echo() -> Any:
        return read_body(request, MAX_BYTES)

    @app.get("/broken")
    def broken() -> Any:
        raise RuntimeError("secret: /srv/key")

    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """Return the log lines, as the services write them."""
    caplog.set_level(logging.INFO)
    return lambda: [json.loads(JsonFormatter().format(record)) for record in caplog.records]
