"""The entry of the UI, which names its pages: python -m streamlit run streamlit_app/app.py."""

import sys
from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent
# A file, since Streamlit fetches a :material: favicon from a CDN.
FAVICON = str(HERE / "favicon.svg")

# `streamlit run` puts this script's folder on the path, and the pages import from the folder above.
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))


def main() -> None:
    """Draw the page that the visitor is on."""
    st.set_page_config(page_title="Predict", page_icon=FAVICON, layout="wide")
    # Through Nginx, /predict and /model belong to the API.
    pages = [
        st.Page(HERE / "predict" / "page.py", title="Predict", icon=":material/tune:", default=True),
        st.Page(HERE / "batch" / "page.py", title="Batch", icon=":material/table_rows:", url_path="batch"),
        st.Page(HERE / "model" / "page.py", title="Model", icon=":material/badge:", url_path="model-card"),
        st.Page(HERE / "train" / "page.py", title="Train", icon=":material/model_training:", url_path="train"),
        st.Page(HERE / "status" / "page.py", title="Status", icon=":material/monitor_heart:", url_path="status"),
    ]
    st.navigation(pages, position="top").run()


if __name__ == "__main__":
    main()
