"""The API's Gunicorn worker: accepting, the fast path, load shedding and expiry."""
