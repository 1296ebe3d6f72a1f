"""The HTTP clients of the UI, which know nothing of Streamlit."""
