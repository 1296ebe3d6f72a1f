"""The page that shows whether the prediction service is ready and how fast it answers."""

import statistics

import altair as alt
import pandas as pd
import streamlit as st

from streamlit_app.clients.errors import ApiError
from streamlit_app.components import service
from streamlit_app.components.charts import BLUE
from streamlit_app.components.figures import show_figures
from streamlit_app.components.text import escape, plural

POLL_SECONDS = 10
MAX_BARS = 50
MAX_LISTED_CALLS = 10


def show() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Service status")
    st.title("Status", anchor=False)
    _poll()
    address = service.visitors_url()
    with st.container(horizontal=True):
        st.link_button("API documentation", f"{address}/docs", icon=":material/menu_book:")
        st.link_button("OpenAPI document", f"{address}/openapi.json", icon=":material/data_object:")


@st.fragment(run_every=POLL_SECONDS)
def _poll() -> None:
    """Draw the state of the service again every few seconds, without the other parts of the page."""
    client = service.client()
    try:
        readiness = client.ready()
    except ApiError as error:
        service.show_error(error)
        st.caption(f"Checked every {POLL_SECONDS} seconds.")
    else:
        st.success("The prediction service is ready.", icon=":material/check_circle:")
        facts = {"Model version": readiness.model_version, "Signature": readiness.signature}
        st.table({name: escape(value or "unknown") for name, value in facts.items()}, border="horizontal")
    st.subheader("Latency of recent requests", anchor=False)
    calls = list(client.calls)[-MAX_BARS:]
    answered = [call.seconds * 1000 for call in calls if call.status]
    if not answered:
        st.caption("No request was answered yet.")
        return
    middle = statistics.median(answered)
    figures = {"Last": answered[-1], "Median": middle, "Slowest": max(answered)}
    show_figures({name: f"{value:.0f} ms" for name, value in figures.items()})
    words = f"Milliseconds to answer {plural(len(answered), 'request')}, median {middle:.0f}."
    st.altair_chart(_latency_chart(answered), alt=words, key="latency")
    rows = [
        {
            "Time (UTC)": f"{call.at:%H:%M:%S}",
            "Request": call.request,
            "Status": str(call.status) if call.status else "no answer",
            "Latency (ms)": round(call.seconds * 1000, 1),
        }
        for call in reversed(calls[-MAX_LISTED_CALLS:])
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="The most recent requests")
    st.caption("Requests of this instance of the user interface, for all its visitors.")


def _latency_chart(milliseconds: list[float]) -> alt.Chart:
    """Return one bar for each call, the newest at the right, with room for MAX_BARS."""
    data = pd.DataFrame({"call": range(MAX_BARS - len(milliseconds) + 1, MAX_BARS + 1), "ms": milliseconds})
    return (
        alt.Chart(data)
        .mark_bar(color=BLUE, cornerRadiusEnd=2, size=5)
        .encode(
            x=alt.X("call:Q", axis=None, scale=alt.Scale(domain=[0.5, MAX_BARS + 0.5], nice=False)),
            y=alt.Y("ms:Q", title="Latency (ms)"),
            tooltip=[alt.Tooltip("ms:Q", title="Latency (ms)", format=".1f")],
        )
        .properties(height=140)
    )


if __name__ == "__main__":
    show()
