"""Receive the table that a request uploads or names. It is written to a disk and never opened here."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser

from http_service.body import BoundedBody, no_room, read_body
from http_service.problems import Problem
from http_service.slots import occupied
from table_io.errors import TableFormatError
from table_io.kinds import HEAD_BYTES, kind_of_file

# Uploads at the same time; the other threads answer.
_MAX_UPLOADS = 3
# Everything in a request but its table; Werkzeug adds its own buffer, of one block.
_MAX_FIELD_BYTES = 262_144
_MAX_PARTS = 10
_BLOCK_BYTES = 64 * 1024

_slots = threading.BoundedSemaphore(_MAX_UPLOADS)


@dataclass(frozen=True)
class TableRequest:
    """A request's fields, with the name of a built-in table or of the uploaded file in the folder."""

    data: str | None
    file_name: str | None
    fields: Mapping[str, Any]


def read_request(request: Request, folder: Path, max_bytes: int, built_in: tuple[str, ...]) -> TableRequest:
    """Return the request's table and other fields; write a file into the folder.

    Raises:
        Problem: 400 malformed, 413 too large, 415 neither JSON nor multipart, or no CSV or Parquet file, 422 no table,
            503 no room for it.
    """
    if request.mimetype == "multipart/form-data":
        with occupied(_slots, f"The service is receiving {_MAX_UPLOADS} tables already; try again later.", 3):
            return _read_multipart(request, folder, max_bytes)
    if request.mimetype == "application/json":
        return _read_json(request, built_in)
    raise Problem(
        415, 'Send JSON that names a built-in table ({"data": "iris"}), or multipart/form-data with a part named file.'
    )


def read_fields(request: Request) -> dict[str, Any]:
    """Return the JSON object of the body; an empty body is an empty object.

    Raises:
        Problem: 400 not JSON, 413 too large, 415 not declared as JSON, 422 not an object.
    """
    raw = read_body(request, _MAX_FIELD_BYTES)
    if not raw:
        return {}
    if request.mimetype != "application/json":
        raise Problem(415, "Send JSON with the header Content-Type: application/json.")
    fields = parse_json(raw, "The body")
    if not isinstance(fields, dict):
        raise Problem(422, "The body must be one object.")
    return fields


def _read_json(request: Request, built_in: tuple[str, ...]) -> TableRequest:
    fields = read_fields(request)
    data = fields.get("data")
    if data not in built_in:
        raise Problem(
            422, f"data must be one of {', '.join(built_in)}; any other table is sent as a file.", field="data"
        )
    return TableRequest(data=data, file_name=None, fields=fields)


def _read_multipart(request: Request, folder: Path, max_bytes: int) -> TableRequest:
    written: list[IO[bytes]] = []

    def open_part(*_: object, **__: object) -> IO[bytes]:
        if written:
            raise Problem(422, "Send one file, in the part named file.", field="file")
        folder.mkdir(parents=True, exist_ok=True)
        # No table can have this name, so an incomplete upload is not taken for one.
        written.append((folder / ".incoming").open("w+b"))
        return written[0]

    parser = MultiPartParser(
        stream_factory=open_part,
        max_form_memory_size=_MAX_FIELD_BYTES,
        max_form_parts=_MAX_PARTS,
        buffer_size=_BLOCK_BYTES,
    )
    boundary = request.mimetype_params.get("boundary", "")
    too_large = f"The table is larger than {max_bytes} bytes (MAX_TABLE_BYTES)."
    body = BoundedBody(request, max_bytes + _MAX_FIELD_BYTES, too_large)
    try:
        if not boundary or not boundary.isascii():
            raise ValueError("there is no boundary in the Content-Type")
        form, files = parser.parse(body, boundary.encode(), request.content_length)  # type: ignore[arg-type]
        # What follows the last part.
        for _ in body:
            pass
    except RequestEntityTooLarge:
        raise Problem(413, f"A part besides the file is larger than {_MAX_FIELD_BYTES} bytes.") from None
    except ValueError as error:
        raise Problem(400, f"The body is not multipart/form-data: {error}.") from None
    except OSError as error:
        raise no_room(error) from error
    finally:
        for file in written:
            file.close()
    upload = files.get("file")
    if upload is None:
        raise Problem(422, "Send the table as a CSV or Parquet file, in the part named file.", field="file")
    path = folder / ".incoming"
    if path.stat().st_size > max_bytes:
        raise Problem(413, too_large)
    file_name = _plain_name(upload.filename or "", path)
    path.rename(folder / file_name)
    return TableRequest(data=None, file_name=file_name, fields=dict(form))


def parse_json(raw: bytes | str, what: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        Problem: 400 it is not JSON.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Problem(400, f"{what} is not JSON: {str(error)[:200]}.") from None


def _plain_name(given: str, path: Path) -> str:
    """Return a file name that is safe on any system, with the suffix of the file's format."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    try:
        kind = kind_of_file(head)
    except TableFormatError as error:
        raise Problem(415, str(error)) from None
    # Windows clients send whole paths.
    stem = Path(given.replace("\\", "/")).name.rsplit(".", 1)[0]
    return (re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:64] or "table") + f".{kind}"
