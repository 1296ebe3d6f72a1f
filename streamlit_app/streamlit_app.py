"""Entry of the UI: streamlit run streamlit_app/streamlit_app.py. The layout of the whole; each page has its module."""

from pathlib import Path

import streamlit as st

import predict_page

# Streamlit fetches a :material: favicon from a CDN; this one is served from here.
FAVICON = str(Path(__file__).with_name("favicon.svg"))


def main() -> None:
    """Draw the page that the visitor is on."""
    st.set_page_config(page_title="Predict", page_icon=FAVICON, layout="centered")
    predict_page.show()


if __name__ == "__main__":
    main()
