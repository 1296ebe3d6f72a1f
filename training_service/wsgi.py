"""The application that Gunicorn's worker imports."""

from training_service.application import create_app

app = create_app()
app.extensions["runner"].start()
