"""The application that Gunicorn's workers import."""

from flask_app.application import create_app

app = create_app()
