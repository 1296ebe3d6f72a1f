"""The prediction API: Gunicorn and Flask. Reads artifacts, never trains."""
