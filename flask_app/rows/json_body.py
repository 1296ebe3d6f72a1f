"""Read a JSON body strictly."""

import json
import math
from typing import Any

from flask import Request, current_app

from http_service.body import read_body
from http_service.problems import InvalidFields, Problem

# No double has more digits before its point; Python does not parse more than 4,300 (CVE-2020-10735).
_MAX_INTEGER_DIGITS = 400


def read_json(request: Request) -> Any:
    """Return the body's value; NaN, Infinity and numbers beyond a double become non-finite floats.

    Raises:
        Problem: 400 not JSON or not UTF-8, 413 too large, 415 not declared as JSON or compressed,
            422 an object has a duplicate name.
    """
    return parse_json(read_json_bytes(request))


def read_json_bytes(request: Request) -> bytes:
    """Return the body of a request that is declared as JSON.

    Raises:
        Problem: 413 too large, 415 not declared as JSON or compressed.
    """
    mimetype = request.mimetype
    if mimetype != "application/json" and not mimetype.endswith("+json"):
        found = f"not {mimetype}" if mimetype else "and the request has no Content-Type"
        raise Problem(415, f"Send JSON with the header Content-Type: application/json, {found[:100]}.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Send the body without Content-Encoding; this service does not unpack requests.")
    return read_body(request, current_app.config["MAX_BODY_BYTES"])


def parse_json(body: bytes) -> Any:
    """Return the value of JSON bytes, as `read_json` does."""
    if not body:
        raise Problem(400, "The body is empty; send one JSON object.")
    try:
        # Some Windows programs write a byte order mark.
        return _decoder.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Problem(400, f"The body is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: {error.msg} at line {error.lineno} column {error.colno}.") from None
    except RecursionError:
        raise Problem(400, "The body is nested too deeply; a row is one flat object.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidFields([{"field": twice[:100], "message": "appears more than once in one object"}])
    return values


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else math.inf


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer)
