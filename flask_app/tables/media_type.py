"""Which kind of table comes, and which is wanted."""

from flask import Request

from http_service.problems import Problem

CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
MEDIA_TYPES = (CSV, ARROW, PARQUET)

_UTF_8 = {"utf-8", "utf8", "us-ascii"}


def check_request(request: Request) -> None:
    """Refuse what would have to be unpacked or decoded first.

    Raises:
        Problem: 415 compressed, or declared to be of another encoding than UTF-8.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Send the file without Content-Encoding; this service does not unpack requests.")
    charset = request.mimetype_params.get("charset", "utf-8")
    if request.mimetype == CSV and charset.lower() not in _UTF_8:
        raise Problem(415, f"Send CSV as UTF-8, not as {charset[:40]}.")


def answer_type(request: Request) -> str:
    """The table type that Accept prefers; that of the request where it leaves the choice.

    Raises:
        Problem: 406 it takes none of them.
    """
    asked = request.mimetype
    if not request.accept_mimetypes:
        return asked
    chosen = request.accept_mimetypes.best_match([asked, *(other for other in MEDIA_TYPES if other != asked)])
    if chosen is None:
        raise Problem(406, f"Accept must allow {', '.join(MEDIA_TYPES[:-1])} or {MEDIA_TYPES[-1]}.")
    return chosen
