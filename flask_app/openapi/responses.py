"""The document's answers: headers, the problems that an operation may give, and good answers."""

from typing import Any

from flask_app.openapi.schemas import reference
from http_service.request_id import HEADER as REQUEST_ID

PROBLEM = "application/problem+json"

# status: (name in the components, when)
_PROBLEMS = {
    400: ("BadRequest", "The body is empty, not of its declared format, not UTF-8 or nested too deeply."),
    401: ("Unauthorized", "The API key is missing or unknown."),
    404: ("NotFound", "There is nothing at this address."),
    405: ("MethodNotAllowed", "This address does not take that method; Allow names those that it takes."),
    406: ("NotAcceptable", "Accept allows none of the types that this address can answer with."),
    413: ("ContentTooLarge", "The body is larger than this service takes."),
    415: ("UnsupportedMediaType", "The body's type or encoding is not one of those that this address takes."),
    422: ("UnprocessableContent", "A field is missing, unknown, given twice or not a finite number; each is named."),
    429: ("TooManyRequests", "Too many requests; Retry-After says in how many seconds to try again."),
    500: ("InternalServerError", "The service failed; its log has the request id."),
    502: ("BadGateway", "Nginx reaches no prediction service."),
    503: ("ServiceUnavailable", "No model is loaded; the answer says why."),
    504: ("GatewayTimeout", "The prediction service did not answer Nginx in time."),
}
# What Nginx and an unforeseen failure may answer anywhere, and what else may be said of a body.
ANYWHERE = (429, 500, 502, 504)
BODY = (400, 413, 415, 422, 503, *ANYWHERE)

_MORE_HEADERS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def make_headers() -> dict[str, Any]:
    """The headers that answers share."""
    return {
        REQUEST_ID: {
            "description": "The id of this request: the caller's own where it is a plain token, else one made for it.",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        },
        "Retry-After": {
            "description": "Seconds to wait before another try.",
            "schema": {"type": "integer", "minimum": 0},
        },
        "Allow": {"description": "The methods that the address takes.", "schema": {"type": "string"}},
        "WWW-Authenticate": {"description": "How to send a key.", "schema": {"type": "string"}},
    }


def make_problems(used: set[int]) -> dict[str, Any]:
    """Every problem that an operation names, and the one for a method that none has, by name."""
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
    """A problem of the components."""
    return {"$ref": f"#/components/responses/{_PROBLEMS[status][0]}"}


def answers(good: dict[str, Any], *problems: int, ok: int = 200) -> dict[str, Any]:
    """An operation's answers: the good one, and problems by status."""
    return {
        str(ok): good,
        **{str(status): problem(status) for status in sorted(problems)},
    }


def good(description: str, content: dict[str, Any]) -> dict[str, Any]:
    """The answer when all is well; content maps media types to their schema and examples."""
    return {"description": description, "headers": _headers(REQUEST_ID), "content": content}


def json_content(schema: str, **examples: Any) -> dict[str, Any]:
    """JSON of a schema of the components, with examples by name."""
    media: dict[str, Any] = {"schema": reference(schema)}
    if examples:
        media["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"application/json": media}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
