"""What both services' Gunicorns share: settings, slow-client limits, lingering close, and every patch of Gunicorn."""
