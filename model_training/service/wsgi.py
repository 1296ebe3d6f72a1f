"""What Gunicorn's worker imports."""

from model_training.service.application import create_app

app = create_app()
app.extensions["runner"].start()
