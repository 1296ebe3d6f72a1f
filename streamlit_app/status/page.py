"""The page that says how the service is."""

import statistics

import pandas as pd
import streamlit as st

from streamlit_app.clients.errors import ApiError
from streamlit_app.components import service
from streamlit_app.components.charts import latency_chart
from streamlit_app.components.text import escape, plural

TITLE = "Status"
SECONDS_PER_LOOK = 10
SHOWN_CALLS = 50
LISTED_CALLS = 10


def show() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Status of the service")
    st.title("Status", anchor=False)
    _look()
    address = service.visitors_url()
    with st.container(horizontal=True):
        st.link_button("API documentation", f"{address}/docs", icon=":material/menu_book:")
        st.link_button("OpenAPI document", f"{address}/openapi.json", icon=":material/data_object:")


@st.fragment(run_every=SECONDS_PER_LOOK)
def _look() -> None:
    """Ask anew every few seconds, without a wink of the rest of the page."""
    client = service.client()
    try:
        readiness = client.ready()
    except ApiError as error:
        service.show_error(error)
        st.caption(f"Asked again every {SECONDS_PER_LOOK} seconds.")
    else:
        st.success("The prediction service is ready.", icon=":material/check_circle:")
        st.table(
            {
                "Model version": escape(readiness.model_version or "not told"),
                "Signature": escape(readiness.signature or "not told"),
            },
            border="horizontal",
        )
    calls = list(client.calls)[-SHOWN_CALLS:]
    answered = [call.seconds * 1000 for call in calls if call.status]
    st.subheader("Latency of the last calls", anchor=False)
    if not answered:
        st.caption("No call was answered yet.")
        return
    figures = {"Last": answered[-1], "Median": statistics.median(answered), "Slowest": max(answered)}
    service.metrics({name: f"{value:.0f} ms" for name, value in figures.items()})
    middle = statistics.median(answered)
    words = f"Milliseconds that it took to answer {plural(len(answered), 'call')}, median {middle:.0f}."
    st.altair_chart(latency_chart(answered, SHOWN_CALLS), alt=words, key="latency")
    rows = [
        {
            "Time (UTC)": f"{call.at:%H:%M:%S}",
            "Call": call.request,
            "Status": str(call.status) if call.status else "no answer",
            "ms": round(call.seconds * 1000, 1),
        }
        for call in reversed(calls[-LISTED_CALLS:])
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="The last calls")
    st.caption("Calls of this server of the user interface, from all its visitors.")


if __name__ == "__main__":
    show()
