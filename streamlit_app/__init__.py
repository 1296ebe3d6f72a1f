"""The UI: Streamlit. It speaks HTTP to the API and to the training service."""
