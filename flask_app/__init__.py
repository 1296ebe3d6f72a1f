"""The prediction API on Gunicorn and Flask: it reads artifacts and never trains."""
