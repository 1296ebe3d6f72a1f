"""The table that a request brings, or names: received onto a disk, never opened here."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser

from training_service.problems import Problem

# Uploads that are received at the same time; the rest of the threads answer.
_MOST_UPLOADS = 3
# What a request holds besides its table; Werkzeug counts its own buffer, of a block, to it.
_MOST_FIELD_BYTES = 262_144
_MOST_PARTS = 10
_BLOCK = 64 * 1024

_PARQUET = b"PAR1"
_slots = threading.BoundedSemaphore(_MOST_UPLOADS)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What a request holds: the name of a built-in table, or the file's, which lies in the folder under that name."""

    data: str | None
    file_name: str | None
    fields: Mapping[str, Any]


def read_request(request: Request, folder: Path, max_bytes: int, built_in: tuple[str, ...]) -> Asked:
    """The request's table and other fields; a file is written into the folder.

    Raises:
        Problem: 400 broken, 413 too large, 415 neither JSON nor multipart, or no CSV or Parquet file, 422 no table,
            503 no room for it.
    """
    if request.mimetype == "multipart/form-data":
        with _upload_slot():
            return _read_multipart(request, folder, max_bytes)
    if request.mimetype == "application/json":
        return _read_json(request, built_in)
    raise Problem(
        415, 'Send JSON that names a built-in table ({"data": "iris"}), or multipart/form-data with a part named file.'
    )


def read_fields(request: Request) -> dict[str, Any]:
    """The object in a request's body, which need not have one.

    Raises:
        Problem: 400 it is no JSON, 413 too large, 415 not declared as JSON, 422 no object.
    """
    raw = _Body(request, _MOST_FIELD_BYTES).read_all()
    if not raw:
        return {}
    if request.mimetype != "application/json":
        raise Problem(415, "Send JSON with the header Content-Type: application/json.")
    fields = parse_json(raw, "The body")
    if not isinstance(fields, dict):
        raise Problem(422, "The body must be one object.")
    return fields


def _read_json(request: Request, built_in: tuple[str, ...]) -> Asked:
    fields = read_fields(request)
    data = fields.get("data")
    if data not in built_in:
        raise Problem(
            422, f"data must be one of {', '.join(built_in)}; any other table is sent as a file.", field="data"
        )
    return Asked(data=data, file_name=None, fields=fields)


def _read_multipart(request: Request, folder: Path, max_bytes: int) -> Asked:
    written: list[IO[bytes]] = []

    def open_part(*_: object, **__: object) -> IO[bytes]:
        if written:
            raise Problem(422, "Send one file, in the part named file.", field="file")
        folder.mkdir(parents=True, exist_ok=True)
        # Until the whole request is here, under a name that no table can have.
        written.append((folder / ".incoming").open("w+b"))
        return written[0]

    parser = MultiPartParser(
        stream_factory=open_part, max_form_memory_size=_MOST_FIELD_BYTES, max_form_parts=_MOST_PARTS, buffer_size=_BLOCK
    )
    boundary = request.mimetype_params.get("boundary", "")
    body = _Body(request, max_bytes + _MOST_FIELD_BYTES)
    try:
        if not boundary or not boundary.isascii():
            raise ValueError("there is no boundary in the Content-Type")
        form, files = parser.parse(body, boundary.encode(), request.content_length)  # type: ignore[arg-type]
        # What follows the last part.
        body.read_all()
    except RequestEntityTooLarge:
        raise Problem(413, f"A part besides the file is larger than {_MOST_FIELD_BYTES} bytes.") from None
    except ValueError as error:
        raise Problem(400, f"The body is not multipart/form-data: {error}.") from None
    except OSError as error:
        raise _no_room(error) from error
    finally:
        for file in written:
            file.close()
    upload = files.get("file")
    if upload is None:
        raise Problem(422, "Send the table as a CSV or Parquet file, in the part named file.", field="file")
    path = folder / ".incoming"
    if path.stat().st_size > max_bytes:
        raise _too_large(max_bytes)
    file_name = _plain_name(upload.filename or "", path)
    path.rename(folder / file_name)
    return Asked(data=None, file_name=file_name, fields=dict(form))


class _Body:
    """A request's body that refuses more than so many bytes, and an end before the end."""

    def __init__(self, request: Request, most: int) -> None:
        self._declared = request.content_length
        if (self._declared or 0) > most:
            raise _too_large(most)
        # Werkzeug would end a chunked body at its limit without a word.
        request.max_content_length = None
        self._stream = request.stream
        self._most = most
        self._received = 0

    def read(self, size: int) -> bytes:
        """The next bytes, none at the end."""
        try:
            piece = self._stream.read(size)
        # A chunked body that is cut is one of several of Gunicorn's exceptions.
        except Exception as error:
            raise _stopped() from error
        self._received += len(piece)
        if self._received > self._most:
            raise _too_large(self._most)
        if not piece and self._declared not in (None, self._received):
            raise _stopped()
        return piece

    def read_all(self) -> bytes:
        """Everything up to the end."""
        pieces = []
        while piece := self.read(_BLOCK):
            pieces.append(piece)
        return b"".join(pieces)


def parse_json(raw: bytes | str, what: str) -> Any:
    """A value from JSON.

    Raises:
        Problem: 400 it is none.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Problem(400, f"{what} is not JSON: {str(error)[:200]}.") from None


def _plain_name(given: str, path: Path) -> str:
    """A name for the file that is safe anywhere, and tells its kind by its end."""
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(_PARQUET):
        suffix = ".parquet"
    elif b"\0" in head or head.startswith((b"PK", b"\x1f\x8b", b"\x89PNG", b"%PDF")):
        raise Problem(415, "The file is neither CSV nor Parquet; save it as one of them, not compressed as a whole.")
    else:
        suffix = ".csv"
    # Windows sends whole paths.
    stem = Path(given.replace("\\", "/")).name.rsplit(".", 1)[0]
    return (re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:64] or "table") + suffix


@contextmanager
def _upload_slot() -> Iterator[None]:
    if not _slots.acquire(blocking=False):
        raise Problem(
            503, "As many tables as are taken at once are under way; try again in a moment.", {"Retry-After": "3"}
        )
    try:
        yield
    finally:
        _slots.release()


def _too_large(most: int) -> Problem:
    return Problem(413, f"The table is larger than {most} bytes (MAX_TABLE_BYTES).")


def _stopped() -> Problem:
    return Problem(400, "The upload stopped before its end.")


def _no_room(error: OSError) -> Problem:
    _log.error("no room for an upload", extra={"reason": str(error)})
    return Problem(503, "The service has no room for this table now; try again later.", {"Retry-After": "30"})
