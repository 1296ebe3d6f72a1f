"""All trained versions: which one serves, and how to promote another."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from streamlit_app.clients.errors import ApiError
from streamlit_app.clients.training_answers import TrainedVersion, Versions
from streamlit_app.clients.training_client import TrainingClient
from streamlit_app.components import service
from streamlit_app.components.promotion import show_promotion, verdict
from streamlit_app.components.text import escape, estimator_name, moment, percent
from streamlit_app.train import session


def show_versions(client: TrainingClient, versions: Versions) -> None:
    """Draw the list, the chosen version and the roll-back."""
    if not versions.versions:
        st.info("There are no versions yet. Start a training under New training.", icon=":material/info:")
        return
    frame = pd.DataFrame([_row(version, versions.champion) for version in versions.versions])
    st.dataframe(frame, hide_index=True, alt="All versions, the newest first")
    _show_last_training(versions)
    others = {version.name: version for version in versions.versions if version.name != versions.champion}
    if others:
        chosen = st.selectbox("Version", list(others), key="version", help="The versions that are not serving.")
        version = others[chosen]
        show_promotion(version.gate)
        offer_promotion(client, version.name, is_rejected=version.is_rejected)
    if versions.champion:
        with st.popover("Roll back", icon=":material/undo:"):
            st.markdown(f"The version that served before {escape(versions.champion)} will serve again within seconds.")
            st.button("Roll back now", key="roll_back", type="primary", on_click=_switch, args=(client.roll_back,))


def offer_promotion(client: TrainingClient, version: str, *, is_rejected: bool) -> None:
    """Draw the button that promotes a version; for a rejected one with a confirmation."""

    def promote() -> str:
        return client.activate(version, force=is_rejected)

    if not is_rejected:
        st.button(
            "Promote",
            key=f"promote:{version}",
            type="primary",
            icon=":material/publish:",
            on_click=_switch,
            args=(promote,),
        )
        return
    with st.popover("Promote anyway", icon=":material/warning:"):
        st.markdown("The gate rejected this version. If you continue, everyone gets its predictions.")
        st.button("Promote now", key=f"force:{version}", type="primary", on_click=_switch, args=(promote,))


def show_switch() -> None:
    """Draw once how the last promotion or roll-back ended."""
    if error := st.session_state.pop("switch_error", None):
        session.show_error(error)
    if switched := st.session_state.pop("switched", None):
        version, is_served = switched
        if is_served:
            st.success(f"Version {escape(version)} is now serving.", icon=":material/check_circle:")
        else:
            st.warning(
                f"Version {escape(version)} is promoted, but the API does not serve it yet: see the Status page.",
                icon=":material/warning:",
            )


def _switch(change: Callable[[], str]) -> None:
    """Promote or roll back, and wait for the API."""
    try:
        champion = change()
    except ApiError as error:
        st.session_state["switch_error"] = error
        return
    st.session_state["switched"] = champion, service.wait_for_version(champion)


def _row(version: TrainedVersion, champion: str) -> dict[str, object]:
    return {
        "Version": version.name,
        "Status": "serving" if version.name == champion else "",
        "Trained (UTC)": moment(version.trained_at),
        "Table": str(version.data.get("name") or version.model_name),
        "Estimator": estimator_name(version.estimator),
        "Accuracy": "" if version.accuracy is None else percent(version.accuracy),
        "Log loss": "" if version.log_loss is None else f"{version.log_loss:.4f}",
        "Gate": verdict(version.gate),
    }


def _show_last_training(versions: Versions) -> None:
    if last := versions.last_training:
        outcome = str(last.get("outcome"))
        reason = "" if outcome == "promoted" else f" ({escape(str(last.get('reason') or ''))})"
        at = moment(str(last.get("finished_at") or ""))
        st.caption(f"The last training ended {escape(at)} UTC: {escape(outcome)}{reason}")
