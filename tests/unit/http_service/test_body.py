"""A body is read up to its limit, and an incomplete one is rejected."""

import io
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.unit.http_service.conftest import MAX_BYTES


class _Chunked(io.BytesIO):
    """A chunked body of unknown length; reading past the cut raises Gunicorn's exception."""

    is_cut = False

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        if not block and self.is_cut:
            raise OSError("the client disconnected")
        return block


def _send(client: FlaskClient, body: io.BytesIO, **environ: Any) -> Any:
    # As Gunicorn does: the server knows where the body ends.
    environ = {"wsgi.input": body, "wsgi.input_terminated": True, **environ}
    return client.post("/echo", environ_overrides=environ)


@pytest.mark.parametrize("size", [0, 1, MAX_BYTES])
def test_a_body_up_to_the_limit_is_read(client: FlaskClient, size: int) -> None:
    assert client.post("/echo", data=b"x" * size).data == b"x" * size
    assert _send(client, _Chunked(b"x" * size)).data == b"x" * size


def test_a_larger_body_is_rejected_by_its_declared_length_before_it_is_read(client: FlaskClient) -> None:
    body = io.BytesIO(b"x" * (MAX_BYTES + 1))
    assert _send(client, body, CONTENT_LENGTH=str(MAX_BYTES + 1)).status_code == 413
    assert body.tell() == 0


def test_a_larger_chunked_body_is_rejected_at_the_limit(client: FlaskClient) -> None:
    body = _Chunked(b"x" * 1_000_000)
    assert _send(client, body).status_code == 413
    assert body.tell() == MAX_BYTES + 1


def test_a_body_shorter_than_declared_is_rejected(client: FlaskClient) -> None:
    answer = _send(client, io.BytesIO(b"1234"), CONTENT_LENGTH="5")
    assert (answer.status_code, answer.json["detail"].startswith("The body ended early")) == (400, True)


def test_a_chunked_body_that_is_cut_is_rejected(client: FlaskClient) -> None:
    body = _Chunked(b"1234")
    body.is_cut = True
    assert _send(client, body).status_code == 400
