"""The visitor's admin token, and the training client that uses it."""

import os

import streamlit as st

from streamlit_app.clients.errors import ApiError, TokenRejected
from streamlit_app.clients.training_client import TrainingClient
from streamlit_app.components import service

HELP = (
    "The training service creates the token at its first start: `make run` and the container show where it is stored; "
    "on Kubernetes it is in a Secret. This session keeps it until you lock or close the page."
)


def address() -> str:
    """Return the address of the training service; empty if there is none."""
    return os.environ.get("TRAINING_API_URL", "").strip()


def client() -> TrainingClient | None:
    """Return the client of a visitor who entered a token."""
    token = st.session_state.get("admin_token")
    return TrainingClient(address(), token) if isinstance(token, str) and token else None


def show_setup() -> None:
    """Draw how to get a training service."""
    st.info(
        "No training service is configured. `make run` starts one; with Docker Compose run "
        "`MODEL_STORE=/models docker compose --profile training up`; otherwise set `TRAINING_API_URL`.",
        icon=":material/info:",
    )
    st.caption("See docs/training-service.md of the project.")


def ask_for_token() -> None:
    """Draw the form that unlocks the page; a valid token is kept in the session only."""
    st.caption("A new model changes the predictions for everyone, so this page requires the admin token.")
    with st.form("unlock", border=True, width=520):
        entered = st.text_input("Admin token", type="password", key="token", autocomplete="off", help=HELP)
        pressed = st.form_submit_button("Unlock", type="primary", icon=":material/lock_open:", key="unlock_button")
    if not pressed:
        return
    token = (entered or "").strip()
    if not token:
        st.error("Enter the admin token.", icon=":material/error:")
        return
    try:
        TrainingClient(address(), token).options()
    except ApiError as error:
        service.show_error(error)
        return
    st.session_state["admin_token"] = token
    st.rerun()


def lock() -> None:
    """Forget the token."""
    st.session_state.pop("admin_token", None)


def show_error(error: ApiError) -> None:
    """Draw the error, and forget a token that is no longer valid."""
    if isinstance(error, TokenRejected):
        lock()
    service.show_error(error)
