"""The UI: Streamlit. It calls the API and the training service over HTTP."""
