"""The page that predicts all rows of a table."""

import time
from typing import NoReturn

import streamlit as st

from streamlit_app.batch.results import show_results
from streamlit_app.batch.scoring import ScoringRun, finish
from streamlit_app.batch.table import check_table
from streamlit_app.batch.upload import choose_table
from streamlit_app.clients.card import CardView
from streamlit_app.clients.errors import ApiError
from streamlit_app.components import service
from streamlit_app.components.text import escape, humanise, plural

TITLE = "Batch"
# Each drawing of the progress bar is a message to the browser.
MIN_DRAWING_SECONDS = 0.2


def show() -> None:
    """Draw the page."""
    card = service.card_or_stop(TITLE)
    st.set_page_config(page_title=f"{humanise(card.model_name)}: batch")
    st.title("Batch prediction", anchor=False)
    with st.container():
        service.announce_new_model(card.model_version)
    if "scored" in st.session_state:
        with st.container():
            top = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
            show_results(top, st.session_state["job"], st.session_state["scored"])
            top.button("Predict another table", key="another", on_click=_forget, icon=":material/restart_alt:")
    elif "job" in st.session_state:
        # Replaces the previous contents at once; they would otherwise stay until the last row is predicted.
        st.empty()
        _run(st.session_state["job"])
    else:
        with st.container():
            _choose(card)


def _choose(card: CardView) -> None:
    chosen = choose_table(card)
    if chosen is None:
        return
    loaded, columns = chosen
    if st.button(f"Predict {plural(loaded.table.num_rows, 'row')}", type="primary", key="score"):
        with st.spinner("Checking the table"):
            checked = check_table(loaded.table, card, columns)
        job = ScoringRun(loaded.table, checked, card, loaded.name)
        job.errors = [*loaded.errors, *job.errors]
        job.error_count += len(loaded.errors)
        st.session_state["job"] = job
        # The run has the parsed table; Streamlit frees the uploaded file when the page draws no uploader.
        st.session_state.pop("loaded", None)
        st.rerun()


def _run(job: ScoringRun) -> None:
    """Predict the remaining rows. Cancel ends this run of the script, and the next one shows the results."""
    st.caption(f"{escape(job.file_name)}: {plural(job.total, 'row')} to predict")
    bar = st.progress(0.0, text=_progress_text(job))
    st.button("Cancel", key="cancel", on_click=_cancel, icon=":material/close:")
    drawn = 0.0
    while not job.finished:
        try:
            job.step(service.client())
        except ApiError as error:
            _stopped(job, error)
        if time.monotonic() - drawn > MIN_DRAWING_SECONDS or job.finished:
            drawn = time.monotonic()
            bar.progress(job.done / job.total, text=_progress_text(job))
    _keep()
    st.rerun()


def _progress_text(job: ScoringRun) -> str:
    speed = f" · {job.rows_per_second:,.0f} rows/s" if job.done else ""
    return f"{job.done:,} of {job.total:,} rows{speed}"


def _stopped(job: ScoringRun, error: ApiError) -> NoReturn:
    service.forget_card()
    service.show_error(error, job.card)
    kept = plural(job.done, "row is", "rows are")
    st.caption(f"{kept} predicted and kept. Start over if the model now has other features.")
    with st.container(horizontal=True):
        st.button("Continue", key="continue", type="primary")
        st.button("Start over", key="start_over", on_click=_forget)
    st.stop()


def _cancel() -> None:
    """Show the rows predicted so far, or the start without any."""
    if st.session_state["job"].done:
        _keep()
    else:
        _forget()


def _keep() -> None:
    st.session_state["scored"] = finish(st.session_state["job"])


def _forget() -> None:
    for name in ("job", "scored", "loaded"):
        st.session_state.pop(name, None)


if __name__ == "__main__":
    show()
