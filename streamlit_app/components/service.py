"""What every page shares: the one client, the cached card, and how an error of the API looks."""

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
SWITCH_SECONDS = 10.0
SWITCH_PAUSE_SECONDS = 0.25


@st.cache_resource
def _client(base_url: str) -> ApiClient:
    return ApiClient(base_url, os.environ.get("API_KEY", ""))


def client() -> ApiClient:
    """The client of the API that API_BASE_URL names, with the key in API_KEY."""
    return _client(os.environ.get("API_BASE_URL") or "http://127.0.0.1:5000")


def theme() -> str:
    """The theme that the visitor sees: light or dark."""
    return "dark" if st.context.theme.type == "dark" else "light"


def visitors_url() -> str:
    """Where the visitor's own machine finds the API: beside this page behind Nginx, else where this page finds it."""
    page = urlsplit(st.context.url or "")
    behind_nginx = page.netloc and "X-Forwarded-Proto" in st.context.headers
    return f"{page.scheme}://{page.netloc}" if behind_nginx else client().base_url


# An error is raised through the cache and so never kept.
@st.cache_data(ttl=CARD_TTL_SECONDS, max_entries=4, show_spinner=False)
def _card(base_url: str) -> CardView:
    return _client(base_url).model_card()


def fetch_card() -> CardView:
    """The card, at most CARD_TTL_SECONDS old. Raises ApiError."""
    return _card(client().base_url)


def card_or_stop(title: str) -> CardView:
    """The card; without one the page ends here, with the reason and a way to try again."""
    try:
        return fetch_card()
    except ApiError as error:
        st.title(title)
        offer_retry(error)


def forget_card() -> None:
    """The next fetch_card asks the API."""
    _card.clear()


def wait_for_version(version: str) -> bool:
    """Wait until the API serves the version, which takes it a second or two; False if it does not within seconds."""
    deadline = time.monotonic() + SWITCH_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(ApiError):
            if client().ready().model_version == version:
                forget_card()
                return True
        time.sleep(SWITCH_PAUSE_SECONDS)
    forget_card()
    return False


def tell_of_new_model(version: str) -> None:
    """Say once that another model serves than at the visitor's last look."""
    seen = st.session_state.get("model_version")
    st.session_state["model_version"] = version
    if seen and seen != version:
        st.info(
            f"The model has changed since your last look: it is now version {escape(version)}.",
            icon=":material/update:",
        )


def metrics(values: dict[str, str]) -> None:
    """Figures with their names, beside each other as far as there is room."""
    with st.container(horizontal=True, gap="medium"):
        for name, value in values.items():
            st.metric(escape(name), value, width="content")


def show_error(error: ApiError, card: CardView | None = None) -> None:
    """One sentence on what happened and one on what to do; never a trace."""
    lines = [f"{escape(error.message)} {escape(error.advice)}"]
    names = {feature.name: humanise(feature.name) for feature in card.features} if card else {}
    lines += [f"- {escape(names.get(item.field, item.field))}: {escape(item.message)}" for item in error.fields]
    st.error("\n".join(lines), icon=":material/error:")
    if error.request_id:
        st.caption(f"Request id: {escape(error.request_id)}")


def offer_retry(error: ApiError, card: CardView | None = None) -> NoReturn:
    """Show the error with a button that starts afresh, and end the page there."""
    show_error(error, card)
    st.button("Try again", on_click=forget_card, key="try_again")
    st.stop()
