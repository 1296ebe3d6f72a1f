"""The application factory."""

from flask import Flask

from flask_app import problems, request_log
from flask_app.resources import health, model, predict
from flask_app.served_model import ModelHolder
from flask_app.settings import Settings
from model_training.store import ArtifactStore


def create_app(settings: Settings | None = None) -> Flask:
    """The application with its model loaded, if the store has a good one; without one it answers 503 until it has.

    Raises:
        SettingsError: no settings were passed and the environment's cannot be used.
    """
    settings = settings or Settings.from_env()
    app = Flask(__name__, static_folder=None)
    app.config["MAX_BODY_BYTES"] = settings.max_body_bytes
    # A path with a slash too many is unknown; a redirect would turn a POST into a GET in most clients.
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False

    holder = ModelHolder(ArtifactStore(settings.model_store), settings.model_poll_seconds)
    app.extensions["model_holder"] = holder
    request_log.init_app(app)
    problems.init_app(app)
    for resource in (health, model, predict):
        app.register_blueprint(resource.blueprint(holder))
    holder.watch()
    return app
