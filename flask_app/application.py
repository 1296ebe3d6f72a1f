"""The application factory."""

from flask import Flask

from flask_app import authentication, metrics
from flask_app.model import shadow, track
from flask_app.model.served_model import ModelHolder
from flask_app.resources import docs, explain, model, predict, readiness, v2
from flask_app.resources import metrics as metrics_resource
from flask_app.server import fast_path
from flask_app.settings import ApiSettings
from http_service.application import make_app
from model_artifact.store import ArtifactStore


def create_app(settings: ApiSettings | None = None) -> Flask:
    """Return the application with the store's model loaded; it answers 503 until the store has a valid one.

    settings: those of the environment if None.

    Raises:
        SettingsError: a setting is invalid.
    """
    settings = settings or ApiSettings.from_env()
    app = make_app(__name__)
    app.config["MAX_BODY_BYTES"] = settings.max_body_bytes

    holder = ModelHolder(ArtifactStore(settings.model_store), settings.model_poll_seconds, settings.public_keys())
    app.extensions["model_holder"] = holder
    track.init_app(app, settings.model_track)
    shadow.init(settings)
    metrics.init_app(app)
    authentication.init_app(app, settings)
    for resource in (readiness, model, explain, metrics_resource):
        app.register_blueprint(resource.blueprint(holder))
    app.register_blueprint(predict.blueprint(holder, settings))
    app.register_blueprint(docs.blueprint(holder, settings))
    app.register_blueprint(v2.blueprint(holder, settings))
    fast_path.init_app(app, holder, settings)
    holder.watch()
    follow_registry(settings)
    return app


def follow_registry(settings: ApiSettings) -> None:
    """Keep the store at the MLflow server's champion, if the settings name a server.

    Raises:
        SettingsError: its address, or another setting of MLflow, is invalid.
    """
    model = settings.registered_model()
    if model is None:
        return
    from flask_app.model.registry_follower import RegistryFollower

    store = ArtifactStore(settings.model_store)
    RegistryFollower(model, store, settings.registry_poll_seconds, settings.public_keys()).watch()
