"""Gunicorn's worker for the API, and the fast path."""
