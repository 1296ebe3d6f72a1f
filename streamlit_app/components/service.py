"""The API as every page uses it: one client, the cached card, and how an error is shown."""

import contextlib
import os
import time
from typing import NoReturn
from urllib.parse import urlsplit

import streamlit as st

from streamlit_app.clients.api_client import ApiClient
from streamlit_app.clients.card import CardView
from streamlit_app.clients.errors import ApiError
from streamlit_app.components.text import escape, humanise

CARD_TTL_SECONDS = 30
SWITCH_TIMEOUT_SECONDS = 10.0
SWITCH_POLL_SECONDS = 0.25


@st.cache_resource
def _client(base_url: str) -> ApiClient:
    return ApiClient(base_url, os.environ.get("API_KEY", ""))


def client() -> ApiClient:
    """Return the client of the API at API_BASE_URL, with the key in API_KEY."""
    return _client(os.environ.get("API_BASE_URL") or "http://127.0.0.1:5000")


def theme() -> str:
    """Return the visitor's theme: light or dark."""
    return "dark" if st.context.theme.type == "dark" else "light"


def visitors_url() -> str:
    """Return the API's address for the visitor: the page's own origin behind Nginx, else API_BASE_URL."""
    page = urlsplit(st.context.url or "")
    behind_nginx = page.netloc and "X-Forwarded-Proto" in st.context.headers
    return f"{page.scheme}://{page.netloc}" if behind_nginx else client().base_url


# st.cache_data does not keep an error, which passes through it as an exception.
@st.cache_data(ttl=CARD_TTL_SECONDS, max_entries=4, show_spinner=False)
def _card(base_url: str) -> CardView:
    return _client(base_url).model_card()


def fetch_card() -> CardView:
    """Return the card, at most CARD_TTL_SECONDS old. Raises ApiError."""
    return _card(client().base_url)


def card_or_stop(title: str) -> CardView:
    """Return the card; without one, show the reason and a button to try again, and end the page."""
    try:
        return fetch_card()
    except ApiError as error:
        st.title(title)
        offer_retry(error)


def forget_card() -> None:
    """Make the next fetch_card ask the API."""
    _card.clear()


def wait_for_version(version: str) -> bool:
    """Wait until the API serves the version; return False after SWITCH_TIMEOUT_SECONDS."""
    deadline = time.monotonic() + SWITCH_TIMEOUT_SECONDS
    is_served = False
    while not is_served and time.monotonic() < deadline:
        with contextlib.suppress(ApiError):
            is_served = client().ready().model_version == version
        if not is_served:
            time.sleep(SWITCH_POLL_SECONDS)
    forget_card()
    return is_served


def announce_new_model(version: str) -> None:
    """Show once that the model was replaced since the visitor's last run of a page."""
    seen = st.session_state.get("model_version")
    st.session_state["model_version"] = version
    if seen and seen != version:
        st.info(f"The model was updated: version {escape(version)} is now serving.", icon=":material/update:")


def show_error(error: ApiError, card: CardView | None = None) -> None:
    """Draw what happened and what to do, never a traceback."""
    lines = [f"{escape(error.message)} {escape(error.advice)}"]
    names = {feature.name: humanise(feature.name) for feature in card.features} if card else {}
    lines += [f"- {escape(names.get(item.field, item.field))}: {escape(item.message)}" for item in error.fields]
    st.error("\n".join(lines), icon=":material/error:")
    if error.request_id:
        st.caption(f"Request id: {escape(error.request_id)}")


def offer_retry(error: ApiError, card: CardView | None = None) -> NoReturn:
    """Draw the error with a button that starts afresh, and end the page."""
    show_error(error, card)
    st.button("Try again", on_click=forget_card, key="try_again")
    st.stop()
