"""What every page shares: the one client, the cached card, and how an error of the API looks."""

import os
from typing import NoReturn

import streamlit as st

from api_client import ApiClient, ApiError
from card import ModelCard
from text import escape, humanise

CARD_TTL_SECONDS = 30


@st.cache_resource
def _client(base_url: str) -> ApiClient:
    return ApiClient(base_url, os.environ.get("API_KEY", ""))


def client() -> ApiClient:
    """The client of the API that API_BASE_URL names, with the key in API_KEY."""
    return _client(os.environ.get("API_BASE_URL") or "http://127.0.0.1:5000")


# An error is raised through the cache and so never kept.
@st.cache_data(ttl=CARD_TTL_SECONDS, max_entries=4, show_spinner=False)
def _card(base_url: str) -> ModelCard:
    return _client(base_url).model_card()


def fetch_card() -> ModelCard:
    """The card, at most CARD_TTL_SECONDS old. Raises ApiError."""
    return _card(client().base_url)


def forget_card() -> None:
    """The next fetch_card asks the API."""
    _card.clear()


def show_error(error: ApiError, card: ModelCard | None = None) -> None:
    """One sentence on what happened and one on what to do; never a trace."""
    lines = [f"{escape(error.message)} {escape(error.advice)}"]
    names = {feature.name: humanise(feature.name) for feature in card.features} if card else {}
    lines += [f"- {escape(names.get(item.field, item.field))}: {escape(item.message)}" for item in error.fields]
    st.error("\n".join(lines), icon=":material/error:")
    if error.request_id:
        st.caption(f"Request id: {escape(error.request_id)}")


def offer_retry(error: ApiError, card: ModelCard | None = None) -> NoReturn:
    """Show the error with a button that starts afresh, and end the page there."""
    show_error(error, card)
    st.button("Try again", on_click=forget_card, key="try_again")
    st.stop()
