"""All that was trained: which version serves, and how another takes its place."""

import pandas as pd
import streamlit as st

from streamlit_app.clients.errors import ApiError
from streamlit_app.clients.training_client import TrainedVersion, TrainingClient, Versions
from streamlit_app.components import service
from streamlit_app.components.promotion import show_gate, verdict
from streamlit_app.components.text import escape, moment, percent
from streamlit_app.train import session
from streamlit_app.train.configuration import estimator_name


def show_versions(client: TrainingClient, versions: Versions) -> None:
    """Draw the list, the chosen version and the way back."""
    if not versions.versions:
        st.info("The store has no version yet: start under New training.", icon=":material/info:")
        return
    frame = pd.DataFrame([_row(version, versions.champion) for version in versions.versions])
    st.dataframe(frame, hide_index=True, alt="All versions, the newest first")
    _last_training(versions)
    others = {version.name: version for version in versions.versions if version.name != versions.champion}
    if others:
        chosen = st.selectbox("Version", list(others), key="version", help="The champion is not among these.")
        version = others[chosen]
        show_gate(version.gate)
        offer_activation(client, version.name, rejected=version.is_rejected)
    if versions.champion:
        with st.popover("Roll back", icon=":material/undo:"):
            st.markdown(f"The champion before {escape(versions.champion)} becomes champion again, within seconds.")
            st.button("Roll back now", key="roll_back", type="primary", on_click=_roll_back, args=(client,))


def offer_activation(client: TrainingClient, version: str, *, rejected: bool) -> None:
    """The button that makes a version champion; for a rejected one behind a second look."""
    if not rejected:
        st.button(
            "Make it champion",
            key=f"activate:{version}",
            type="primary",
            icon=":material/trophy:",
            on_click=_activate,
            args=(client, version, False),
        )
        return
    with st.popover("Make it champion all the same", icon=":material/warning:"):
        st.markdown("The gate rejected it. Everybody gets its answers if you go on.")
        st.button("Force it", key=f"force:{version}", type="primary", on_click=_activate, args=(client, version, True))


def show_switch() -> None:
    """How the last press on one of these buttons ended; told once."""
    error = st.session_state.pop("switch_error", None)
    if error is not None:
        session.show_error(error)
    switched = st.session_state.pop("switched", None)
    if switched is not None:
        version, served = switched
        told = "and the API serves it" if served else "but the API has not taken it up yet: see the Status page"
        st.success(f"Version {escape(version)} is champion, {told}.", icon=":material/trophy:")


def _activate(client: TrainingClient, version: str, force: bool) -> None:
    try:
        champion = client.activate(version, force=force)
    except ApiError as error:
        st.session_state["switch_error"] = error
        return
    st.session_state["switched"] = champion, service.wait_for_version(champion)


def _roll_back(client: TrainingClient) -> None:
    try:
        champion = client.roll_back()
    except ApiError as error:
        st.session_state["switch_error"] = error
        return
    st.session_state["switched"] = champion, service.wait_for_version(champion)


def _row(version: TrainedVersion, champion: str) -> dict[str, object]:
    return {
        "": "champion" if version.name == champion else "",
        "Version": version.name,
        "Trained (UTC)": moment(version.trained_at),
        "Table": str(version.data.get("name") or version.model_name),
        "Estimator": estimator_name(version.estimator),
        "Accuracy": "" if version.accuracy is None else percent(version.accuracy),
        "Log loss": "" if version.log_loss is None else f"{version.log_loss:.4f}",
        "Gate": verdict(version.gate),
    }


def _last_training(versions: Versions) -> None:
    told = versions.last_training
    if told:
        outcome = str(told.get("outcome"))
        reason = "" if outcome == "promoted" else f" ({escape(str(told.get('reason') or ''))})"
        at = moment(str(told.get("finished_at") or ""))
        st.caption(f"The last training ended {escape(at)} UTC: {escape(outcome)}{reason}")
