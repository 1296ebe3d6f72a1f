"""The jobs of the training service: progress and log of a running one, and the result of one that ended."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import streamlit as st

from streamlit_app.clients.errors import ApiError
from streamlit_app.clients.json_values import mapping
from streamlit_app.clients.training_answers import TrainingJob
from streamlit_app.clients.training_client import TrainingClient
from streamlit_app.components import service
from streamlit_app.components.figures import figures_of, show_confusion, show_figures
from streamlit_app.components.promotion import show_promotion
from streamlit_app.components.text import escape, moment
from streamlit_app.train import session
from streamlit_app.train.configuration import summarise
from streamlit_app.train.versions import offer_promotion

POLL_SECONDS = 1.0
MAX_LINES = 500
LOG_HEIGHT_PIXELS = 260
ICONS = {"failed": ":material/error:", "cancelled": ":material/cancel:", "interrupted": ":material/power_off:"}


@dataclass
class JobLog:
    """The last lines of a job's log, and the number of all its lines so far."""

    job_id: str
    lines: list[str] = field(default_factory=list)
    seen: int = 0

    def add(self, job: TrainingJob) -> None:
        """Append the job's new lines."""
        self.lines = [*self.lines, *job.log][-MAX_LINES:]
        # The service drops the first lines of a long log, and a line may be written while it answers.
        self.seen = max(job.log_lines, self.seen + len(job.log))


def show_jobs(client: TrainingClient, champion: str) -> None:
    """Draw the chosen job and the list of all."""
    jobs = {job.id: job for job in client.jobs()}
    if not jobs:
        st.info("There are no jobs yet. Start one under New training.", icon=":material/info:")
        return
    if st.session_state.get("job") not in jobs:
        st.session_state["job"] = next(iter(jobs))
    # The title does not contain the job's state, since Streamlit would take a changed title as another option.
    chosen = st.selectbox("Job", list(jobs), key="job", format_func=lambda job_id: _title(jobs[job_id]))
    job = client.job(chosen)
    if job.is_over:
        _show_result(client, job, champion)
        _show_log(job.log[-MAX_LINES:], job)
    else:
        st.fragment(_watch, run_every=POLL_SECONDS)(client, job.id)
    if len(jobs) > 1:
        with st.expander(f"All {len(jobs)} jobs", icon=":material/list:"):
            frame = pd.DataFrame(list(map(_row, jobs.values())))
            st.dataframe(frame, hide_index=True, alt="All jobs, the newest first")


def _title(job: TrainingJob) -> str:
    return f"{moment(job.created_at)} · {job.table} · {summarise(job.config)}"


def _row(job: TrainingJob) -> dict[str, str]:
    return {
        "Created (UTC)": moment(job.created_at),
        "Table": job.table,
        "Model": summarise(job.config),
        "State": job.state,
        "Version": job.version,
    }


def _watch(client: TrainingClient, job_id: str) -> None:
    """Draw the running job again every second, without the other parts of the page."""
    log: JobLog = st.session_state.get("log") or JobLog(job_id)
    if log.job_id != job_id:
        log = JobLog(job_id)
    try:
        job = client.job(job_id, log.seen)
    except ApiError as error:
        session.show_error(error)
        st.caption("The page tries again every second. The training continues.")
        return
    if job.is_over:
        if job.state == "promoted":
            service.wait_for_version(job.version)
        st.rerun(scope="app")
    words = "Queued" if job.state == "queued" else job.text or "Running"
    st.progress(job.share, text=f"{job.share:.0%} · {escape(words)}")
    st.button("Cancel", key=f"cancel:{job.id}", icon=":material/close:", on_click=_cancel, args=(client, job.id))
    if cancel_error := st.session_state.pop("cancel_error", None):
        session.show_error(cancel_error)
    log.add(job)
    st.session_state["log"] = log
    _show_log(log.lines, job)


def _cancel(client: TrainingClient, job_id: str) -> None:
    try:
        client.cancel(job_id)
    except ApiError as error:
        st.session_state["cancel_error"] = error


def _show_log(lines: Sequence[str], job: TrainingJob) -> None:
    if not lines:
        return
    with st.expander("Log", expanded=not job.is_over, icon=":material/terminal:"):
        st.code("\n".join(lines), language=None, wrap_lines=True, height=LOG_HEIGHT_PIXELS)
        if len(lines) < job.log_lines:
            st.caption(f"The last {len(lines):,} of {job.log_lines:,} lines.")


def _show_result(client: TrainingClient, job: TrainingJob, champion: str) -> None:
    if not job.card:
        show = st.error if job.state == "failed" else st.info
        verb = "" if job.state == "failed" else "was "
        show(f"The training {verb}{job.state}. {escape(job.reason)}", icon=ICONS.get(job.state, ":material/info:"))
        return
    gate = mapping(job.card.get("gate"))
    show_promotion(gate)
    show_figures(figures_of(job.card))
    left, right = st.columns([3, 2], gap="large")
    with left:
        show_confusion(job.card, f"confusion:{job.id}", service.theme())
    with right:
        st.caption(f"Version {escape(job.version)}: {escape(summarise(job.config))}")
        if job.version == champion:
            st.success("This version is now serving.", icon=":material/check_circle:")
            st.page_link("predict/page.py", label="Try it on the Predict page", icon=":material/tune:")
        else:
            offer_promotion(client, job.version, is_rejected=bool(gate) and not gate.get("passed"))
