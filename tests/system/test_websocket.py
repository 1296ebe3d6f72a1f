"""Streamlit's websocket through Nginx and TLS."""

import ssl
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


def open_stream(target, origin: str):
    context = ssl.create_default_context(cafile=target.ca_cert)
    if not target.ca_cert:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return connect(
        f"wss://{urlsplit(target.base_url).netloc}/_stcore/stream",
        ssl=context,
        origin=origin,
        subprotocols=["streamlit"],
        proxy=None,
        open_timeout=20,
    )


def test_websocket_opens_and_answers_pings(target):
    with open_stream(target, target.base_url) as stream:
        assert stream.response.status_code == 101
        assert stream.subprotocol == "streamlit"
        assert len(stream.response.headers.get_all("X-Request-ID")) == 1
        assert stream.ping().wait(timeout=20)


def test_websocket_of_another_sites_page_is_rejected(target):
    """By Nginx: Streamlit would first look up its own address on the internet, and block meanwhile."""
    with pytest.raises(InvalidStatus) as caught:
        open_stream(target, "https://evil.example").close()
    assert caught.value.response.status_code == 403
    assert caught.value.response.headers["Content-Type"] == "application/problem+json"
