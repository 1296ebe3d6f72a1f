"""Split a request's bytes into its JSON and the binary data after it."""

import re

import msgspec

from flask_app.inference_protocol.clean_request import read_clean_request
from flask_app.inference_protocol.messages import InferRequest
from flask_app.rows.json_body import parse_json
from http_service.problems import InvalidFields, Problem

LENGTH_HEADER = "Inference-Header-Content-Length"


def read_request(body: bytes, header_length: str | None) -> tuple[InferRequest, memoryview]:
    """Return the request and the bytes after its JSON; header_length is the value of LENGTH_HEADER, if any.

    Raises:
        Problem: 400 the length does not match the body, or the body is not JSON; 422 the JSON has another form.
    """
    length = _json_length(body, header_length)
    raw = body[:length]
    clean = read_clean_request(raw)
    if clean is not None:
        return clean, memoryview(body)[length:]
    value = parse_json(raw)
    try:
        request = msgspec.convert(value, InferRequest)
        # The answer contains it.
        (request.id or "").encode()
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        field = path.strip("`").removeprefix("$").removeprefix(".") or "body"
        text = f"cannot be used: {message[0].lower()}{message[1:]}"
        raise InvalidFields([{"field": field, "message": text}]) from None
    except UnicodeEncodeError:
        raise InvalidFields([{"field": "body", "message": "has a string with half of a surrogate pair"}]) from None
    return request, memoryview(body)[length:]


def _json_length(body: bytes, header: str | None) -> int:
    if header is None:
        return len(body)
    if not re.fullmatch("[0-9]{1,18}", header):
        raise Problem(400, f"The header {LENGTH_HEADER} must be a number of bytes, in digits, not {header[:50]!r}.")
    length = int(header)
    if length > len(body):
        raise Problem(400, f"The header {LENGTH_HEADER} declares {length} bytes, but the body has {len(body)}.")
    if length == 0:
        raise Problem(400, f"The header {LENGTH_HEADER} must not be 0: name the binary data in JSON before it.")
    return length
