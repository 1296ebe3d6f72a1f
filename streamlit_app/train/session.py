"""What the parts of the Train page share: the visitor's admin token and the client that it opens."""

import os

import streamlit as st

from streamlit_app.clients.errors import ApiError
from streamlit_app.clients.training_client import TokenRefused, TrainingClient
from streamlit_app.components import service

ABOUT = "docs/training-service.md"
WHERE_IT_IS = (
    "The service made it when it first started: `make run` and the container say where it lies; on Kubernetes it is "
    "in a Secret. It stays in this session and is gone when you lock the page or close it."
)


def address() -> str:
    """Where the training service is; empty where this page has none."""
    return os.environ.get("TRAINING_API_URL", "").strip()


def client() -> TrainingClient | None:
    """The client of a visitor who gave a token."""
    token = st.session_state.get("admin_token")
    return TrainingClient(address(), token) if isinstance(token, str) and token else None


def show_how_to_get_one() -> None:
    """The page where there is no training service."""
    st.info(
        "This user interface has no training service. `make run` starts one beside it; with Docker Compose it is "
        "`MODEL_STORE=/models docker compose --profile training up`; elsewhere set `TRAINING_API_URL`.",
        icon=":material/info:",
    )
    st.caption(f"{ABOUT} of the project has more.")


def ask_for_token() -> None:
    """The form that opens the page; a token that the service knows is kept in the session and nowhere else."""
    st.caption("Who trains decides what everybody gets as an answer: this page is for whoever holds the admin token.")
    with st.form("unlock", border=True, width=520):
        token = st.text_input("Admin token", type="password", key="token", autocomplete="off", help=WHERE_IT_IS)
        pressed = st.form_submit_button("Unlock", type="primary", icon=":material/lock_open:", key="unlock_button")
    if not pressed:
        return
    if not (token or "").strip():
        st.error("Enter the admin token.", icon=":material/error:")
        return
    try:
        TrainingClient(address(), token or "").options()
    except ApiError as error:
        service.show_error(error)
        return
    st.session_state["admin_token"] = (token or "").strip()
    st.rerun()


def lock() -> None:
    """Forget the token."""
    st.session_state.pop("admin_token", None)


def show_error(error: ApiError) -> None:
    """The error; a token that is no longer known is forgotten."""
    if isinstance(error, TokenRefused):
        lock()
    service.show_error(error)
