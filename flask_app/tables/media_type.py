"""Which kind of table a request sends, which it wants, and what happens to a row that cannot be predicted."""

from flask import Request

from http_service.problems import InvalidFields, Problem
from table_io.kinds import Kind

CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
KINDS: dict[str, Kind] = {CSV: "csv", ARROW: "arrow", PARQUET: "parquet"}
MEDIA_TYPES = tuple(KINDS)

FAIL, KEEP = "fail", "keep"

# The header of an answer that names the model's version.
MODEL_VERSION = "X-Model-Version"

_UTF_8 = {"utf-8", "utf8", "us-ascii"}


def check_request(request: Request) -> None:
    """Accept a file that needs no unpacking or decoding first.

    Raises:
        Problem: 415 compressed, or declared to be of another encoding than UTF-8.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Send the file without Content-Encoding; this service does not unpack requests.")
    charset = request.mimetype_params.get("charset", "utf-8")
    if request.mimetype == CSV and charset.lower() not in _UTF_8:
        raise Problem(415, f"Send CSV as UTF-8, not as {charset[:40]}.")


def answer_type(request: Request) -> str:
    """Return the table type that Accept prefers, or the request's own if Accept leaves the choice.

    Raises:
        Problem: 406 Accept allows none of them.
    """
    asked = request.mimetype
    if not request.accept_mimetypes:
        return asked
    chosen = request.accept_mimetypes.best_match([asked, *(other for other in MEDIA_TYPES if other != asked)])
    if chosen is None:
        raise Problem(406, f"Accept must allow {', '.join(MEDIA_TYPES[:-1])} or {MEDIA_TYPES[-1]}.")
    return chosen


def keeps_errors(request: Request) -> bool:
    """Return whether the query has on_error=keep: rows that cannot be predicted come back with the reason.

    Raises:
        InvalidFields: on_error has another value than fail or keep, or appears more than once.
    """
    given = request.args.getlist("on_error")
    if given not in ([], [FAIL], [KEEP]):
        raise InvalidFields([{"field": "on_error", "message": f"must be {FAIL} or {KEEP}, once"}])
    return given == [KEEP]
