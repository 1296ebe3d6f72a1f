"""The page on which an administrator trains a model, watches the training, and decides which version serves."""

from typing import Any

import streamlit as st

from streamlit_app.clients.errors import ApiError
from streamlit_app.clients.training_client import TrainingClient
from streamlit_app.components.text import escape
from streamlit_app.train import session
from streamlit_app.train.configuration import choose_config
from streamlit_app.train.jobs import show_jobs
from streamlit_app.train.table import TrainingTable, choose_table
from streamlit_app.train.versions import show_switch, show_versions

NEW, JOBS, VERSIONS = "New training", "Jobs", "Versions"


def show() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Train a model")
    st.title("Train", anchor=False)
    client = session.client()
    if not session.address():
        session.show_setup()
    elif client is None:
        session.ask_for_token()
    else:
        _work(client)


def _work(client: TrainingClient) -> None:
    try:
        options, versions = client.options(), client.versions()
    except ApiError as error:
        session.show_error(error)
        st.button("Try again", key="try_again")
        return
    top = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    top.caption(f"Serving version: {escape(versions.champion or 'none yet')}")
    top.button("Lock", key="lock", on_click=session.lock, icon=":material/lock:", type="tertiary")
    show_switch()
    # Code can open a tab only before the tabs are drawn.
    if wanted := st.session_state.pop("wanted_tab", None):
        st.session_state["tab"] = wanted
    new, jobs, all_versions = st.tabs([NEW, JOBS, VERSIONS], key="tab", on_change="rerun")
    # Always drawn: Streamlit drops the choices and the file of a widget that is not drawn.
    with new:
        table = choose_table(client, options)
        config = choose_config(options)
        _start(client, table, config)
    if jobs.open:
        with jobs:
            try:
                show_jobs(client, versions.champion)
            except ApiError as error:
                session.show_error(error)
    if all_versions.open:
        with all_versions:
            show_versions(client, versions)


def _start(client: TrainingClient, table: TrainingTable | None, config: dict[str, Any]) -> None:
    """Draw the last step: the button that starts the training."""
    st.subheader("3 · Train", anchor=False)
    force = st.checkbox(
        "Promote the model even if the gate rejects it", key="force", help="The model card records that it was forced."
    )
    is_ready = table is not None and table.is_usable
    pressed = st.button("Train", type="primary", icon=":material/model_training:", key="train", disabled=not is_ready)
    if not is_ready:
        st.caption("First choose a table that passes the checks.")
    if not pressed or table is None:
        return
    try:
        with st.spinner("Starting the training"):
            job = table.train(client, config, force=force)
    except ApiError as error:
        session.show_error(error)
        return
    st.session_state["job"] = job.id
    st.session_state["wanted_tab"] = JOBS
    st.rerun()


if __name__ == "__main__":
    show()
