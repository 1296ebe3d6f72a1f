"""The responses of the document: headers, problems and successful answers."""

from typing import Any

from flask_app.openapi.schemas import reference
from flask_app.tables.media_type import MODEL_VERSION
from http_service.request_id import HEADER as REQUEST_ID

PROBLEM = "application/problem+json"

# status: (name in the components, description)
_PROBLEMS = {
    400: ("BadRequest", "The body is empty, incomplete, not of its declared format, not UTF-8 or nested too deeply."),
    401: ("Unauthorized", "The API key is missing or unknown."),
    404: ("NotFound", "There is nothing at this address."),
    405: ("MethodNotAllowed", "This address does not take that method; Allow lists its methods."),
    406: ("NotAcceptable", "Accept allows none of the formats of the answer."),
    413: ("ContentTooLarge", "The body is larger than this service takes."),
    415: ("UnsupportedMediaType", "This address does not take the body's type or encoding."),
    422: (
        "UnprocessableContent",
        "A field is missing, unknown, duplicated or not a finite number; `errors` lists all.",
    ),
    429: ("TooManyRequests", "Too many requests; try again after Retry-After seconds."),
    500: ("InternalServerError", "The service failed; its log has the trace under the request id."),
    502: ("BadGateway", "Nginx cannot reach the prediction service."),
    503: ("ServiceUnavailable", "No model is loaded, with the reason, or the service is overloaded."),
    504: ("GatewayTimeout", "The prediction service did not answer Nginx in time."),
}
# ANYWHERE: from Nginx, or an unexpected failure. BODY: for requests with a body.
ANYWHERE = (429, 500, 502, 504)
BODY = (400, 413, 415, 422, 503, *ANYWHERE)

_MORE_HEADERS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def make_headers() -> dict[str, Any]:
    """Return the headers that answers share."""
    return {
        REQUEST_ID: {
            "description": "The id of this request: the caller's if it is a plain token, else a generated one.",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        },
        MODEL_VERSION: {
            "description": "The version of the model that predicted; with the answer to a file only.",
            "schema": {"type": "string"},
        },
        "Retry-After": {
            "description": "Seconds to wait before the next attempt.",
            "schema": {"type": "integer", "minimum": 0},
        },
        "Allow": {"description": "The address's methods.", "schema": {"type": "string"}},
        "WWW-Authenticate": {"description": "How to send a key.", "schema": {"type": "string"}},
    }


def make_problems(used: set[int]) -> dict[str, Any]:
    """Return the problems with these statuses and 405, which any address may answer, by name."""
    return {
        name: {
            "description": description,
            "headers": _headers(REQUEST_ID, *((_MORE_HEADERS[status],) if status in _MORE_HEADERS else ())),
            "content": {PROBLEM: {"schema": reference("ProblemDocument")}},
        }
        for status, (name, description) in _PROBLEMS.items()
        if status in used | {405}
    }


def problem(status: int) -> dict[str, Any]:
    """Return a reference to a problem in the components."""
    return {"$ref": f"#/components/responses/{_PROBLEMS[status][0]}"}


def answers(good: dict[str, Any], *problems: int) -> dict[str, Any]:
    """Return an operation's responses by status."""
    return {"200": good, **{str(status): problem(status) for status in sorted(problems)}}


def good(description: str, content: dict[str, Any], *headers: str) -> dict[str, Any]:
    """Return the response of a successful request; content maps media types to schema and examples."""
    return {"description": description, "headers": _headers(REQUEST_ID, *headers), "content": content}


def get_operation(operation_id: str, tag: str, summary: str, content: dict[str, Any], *problems: int) -> dict[str, Any]:
    """Return a GET operation without parameters."""
    return {
        "operationId": operation_id,
        "summary": summary,
        "tags": [tag],
        "responses": answers(good(f"{summary}.", content), *problems, *ANYWHERE),
    }


def json_content(schema: str, **examples: Any) -> dict[str, Any]:
    """Return JSON content of a schema in the components, with examples by name."""
    media: dict[str, Any] = {"schema": reference(schema)}
    if examples:
        media["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"application/json": media}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
