"""`GET /docs`: Swagger UI, without files from other servers; `GET /openapi.json`: the document that it shows."""

import importlib.resources
import mimetypes
from pathlib import Path

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from flask_app.model.served_model import ModelHolder
from flask_app.openapi.document import DocumentMaker
from flask_app.settings import ApiSettings
from http_service.problems import DETAILS, Problem

_OWN = Path(__file__).resolve().parent.parent / "docs_page"
_SWAGGER_UI = Path(str(importlib.resources.files("flask_swagger_ui"))) / "dist"

_FILES = {
    "page.css": _OWN,
    "page.js": _OWN,
    "favicon-32x32.png": _SWAGGER_UI,
    "swagger-ui.css": _SWAGGER_UI,
    "swagger-ui-bundle.js": _SWAGGER_UI,
}

# Swagger UI needs inline styles, and data: for its arrows.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def blueprint(holder: ModelHolder, settings: ApiSettings) -> Blueprint:
    """Return the endpoints of the API's description."""
    docs = Blueprint("docs", __name__)
    maker = DocumentMaker(settings)

    @docs.get("/openapi.json")
    def document() -> ResponseReturnValue:
        """Return the OpenAPI 3.1 document of the served model."""
        return Response(maker.document(holder.require()), content_type="application/json")

    @docs.get("/docs")
    @docs.get("/docs/")
    def page() -> ResponseReturnValue:
        """Return Swagger UI, which shows the reason if no model is loaded."""
        response = _file(_OWN / "index.html")
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    @docs.get("/docs/<name>")
    def file(name: str) -> ResponseReturnValue:
        """Return one of the page's files."""
        if name not in _FILES:
            raise Problem(404, DETAILS[404])
        return _file(_FILES[name] / name)

    return docs


def _file(path: Path) -> Response:
    """Return a file that browsers revalidate by its ETag, so that an upgrade is visible at once."""
    response = Response(path.read_bytes(), mimetype=mimetypes.guess_type(path.name)[0])
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response
