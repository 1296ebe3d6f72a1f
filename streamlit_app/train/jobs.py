"""The jobs of the training service: progress and log of one that runs, and how one ended beside the champion."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import streamlit as st

from streamlit_app.clients.errors import ApiError
from streamlit_app.clients.training_client import TrainingClient, TrainingJob
from streamlit_app.components import service
from streamlit_app.components.charts import confusion_chart, confusion_words
from streamlit_app.components.figures import figures, mapping, matrix_of
from streamlit_app.components.promotion import show_gate
from streamlit_app.components.text import escape, moment, shorten
from streamlit_app.train import session
from streamlit_app.train.configuration import told_in_short
from streamlit_app.train.versions import offer_activation

SECONDS_PER_LOOK = 1.0
MOST_LINES = 500
LOG_HEIGHT_PIXELS = 260
STATES = {
    "queued": ("waits", ":material/hourglass_empty:"),
    "running": ("runs", ":material/play_circle:"),
    "promoted": ("became champion", ":material/check_circle:"),
    "rejected": ("rejected by the gate", ":material/block:"),
    "failed": ("failed", ":material/error:"),
    "cancelled": ("cancelled", ":material/cancel:"),
    "interrupted": ("interrupted", ":material/power_off:"),
}


@dataclass
class JobLog:
    """The last lines of a job's log, and how many there were in all."""

    job_id: str
    lines: list[str] = field(default_factory=list)
    seen: int = 0

    def add(self, job: TrainingJob) -> None:
        """Take over the lines that were asked for."""
        self.lines = [*self.lines, *job.log][-MOST_LINES:]
        # The service forgets the first lines of a long log, and a line may be written while it answers.
        self.seen = max(job.log_lines, self.seen + len(job.log))


def show_jobs(client: TrainingClient, champion: str) -> None:
    """Draw the chosen job and the list of all."""
    jobs = {job.id: job for job in client.jobs()}
    if not jobs:
        st.info("Nothing was trained yet: start under New training.", icon=":material/info:")
        return
    if st.session_state.get("job") not in jobs:
        st.session_state["job"] = next(iter(jobs))
    # A title that changed with the job's state would be another choice.
    chosen = st.selectbox("Job", list(jobs), key="job", format_func=lambda job_id: _title(jobs[job_id]))
    job = client.job(chosen)
    if job.is_over:
        _ended(client, job, champion)
        _show_log(job.log[-MOST_LINES:], job)
    else:
        st.fragment(_watch, run_every=SECONDS_PER_LOOK)(client, job.id)
    if len(jobs) > 1:
        with st.expander(f"All {len(jobs)} jobs", icon=":material/list:"):
            st.dataframe(
                pd.DataFrame(list(map(_row, jobs.values()))), hide_index=True, alt="All jobs, the newest first"
            )


def _title(job: TrainingJob) -> str:
    return f"{moment(job.created_at)} · {job.table} · {told_in_short(job.config)}"


def _row(job: TrainingJob) -> dict[str, str]:
    return {
        "Asked for (UTC)": moment(job.created_at),
        "Table": job.table,
        "Model": told_in_short(job.config),
        "State": STATES.get(job.state, (job.state, ""))[0],
        "Version": job.version,
    }


def _watch(client: TrainingClient, job_id: str) -> None:
    """Ask anew every second, without a wink of the rest of the page."""
    log: JobLog = st.session_state.get("log") or JobLog(job_id)
    if log.job_id != job_id:
        log = JobLog(job_id)
    try:
        job = client.job(job_id, log.seen)
    except ApiError as error:
        session.show_error(error)
        st.caption("Asked again every second; the training goes on meanwhile.")
        return
    if job.is_over:
        if job.state == "promoted":
            service.wait_for_version(job.version)
        st.rerun(scope="app")
    words = "It waits for its turn." if job.state == "queued" else job.text or "It runs."
    st.progress(job.share, text=f"{job.share:.0%} · {escape(words)}")
    st.button("Cancel", key=f"cancel:{job.id}", icon=":material/close:", on_click=_cancel, args=(client, job.id))
    _show_cancel_error()
    log.add(job)
    st.session_state["log"] = log
    _show_log(log.lines, job)


def _cancel(client: TrainingClient, job_id: str) -> None:
    try:
        client.cancel(job_id)
    except ApiError as error:
        st.session_state["cancel_error"] = error


def _show_cancel_error() -> None:
    error = st.session_state.pop("cancel_error", None)
    if error is not None:
        session.show_error(error)


def _show_log(lines: Sequence[str], job: TrainingJob) -> None:
    if not lines:
        return
    with st.expander("Log", expanded=not job.is_over, icon=":material/terminal:"):
        st.code("\n".join(lines), language=None, wrap_lines=True, height=LOG_HEIGHT_PIXELS)
        if len(lines) < job.log_lines:
            st.caption(f"The last {len(lines):,} of {job.log_lines:,} lines.")


def _ended(client: TrainingClient, job: TrainingJob, champion: str) -> None:
    if not job.card:
        word, icon = STATES.get(job.state, (job.state, ":material/info:"))
        show = st.error if job.state == "failed" else st.info
        show(f"The training {'' if job.state == 'failed' else 'was '}{word}. {escape(job.reason)}", icon=icon)
        return
    gate = mapping(job.card.get("gate"))
    show_gate(gate)
    service.metrics(figures(job.card.get("metrics")))
    left, right = st.columns([3, 2], gap="large")
    matrix, classes = matrix_of(job.card)
    if matrix:
        words = confusion_words(matrix, classes)
        left.altair_chart(confusion_chart(matrix, classes, service.theme()), alt=words, key=f"confusion:{job.id}")
        left.caption(escape(shorten(words, 400)))
    with right:
        st.caption(f"Version {escape(job.version)}: {escape(told_in_short(job.config))}")
        if job.version == champion:
            st.success("It is champion.", icon=":material/trophy:")
            st.page_link("predict/page.py", label="Try it on the Predict page", icon=":material/tune:")
        else:
            offer_activation(client, job.version, rejected=bool(gate) and not gate.get("passed"))
