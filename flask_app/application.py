"""The application factory."""

from flask import Flask

from flask_app import authentication, metrics, problems, request_log
from flask_app.model import shadow, track
from flask_app.model.served_model import ModelHolder
from flask_app.resources import docs, explain, health, model, predict, v2
from flask_app.resources import metrics as metrics_resource
from flask_app.server import fast_path
from flask_app.settings import Settings
from model_artifact.store import ArtifactStore


def create_app(settings: Settings | None = None) -> Flask:
    """The application with its model loaded, if the store has a good one; without one it answers 503 until it has.

    Raises:
        SettingsError: the public key, the MLflow server, or with no settings passed those of the environment, cannot be
            used.
    """
    settings = settings or Settings.from_env()
    app = Flask(__name__, static_folder=None)
    app.config["MAX_BODY_BYTES"] = settings.max_body_bytes
    # A path with a slash too many is unknown; a redirect would turn a POST into a GET in most clients.
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False

    holder = ModelHolder(ArtifactStore(settings.model_store), settings.model_poll_seconds, settings.public_keys())
    app.extensions["model_holder"] = holder
    request_log.init_app(app)
    track.init_app(app, settings.model_track)
    shadow.init(settings)
    metrics.init_app(app)
    authentication.init_app(app, settings)
    problems.init_app(app)
    for resource in (health, model, explain, metrics_resource):
        app.register_blueprint(resource.blueprint(holder))
    app.register_blueprint(predict.blueprint(holder, settings))
    app.register_blueprint(docs.blueprint(holder, settings))
    app.register_blueprint(v2.blueprint(holder, settings))
    fast_path.init_app(app, holder, settings)
    holder.watch()
    follow_registry(settings)
    return app


def follow_registry(settings: Settings) -> None:
    """Keep the store at what the MLflow server says, if one is set.

    Raises:
        SettingsError: its address, or a setting beside it, cannot be used.
    """
    model = settings.registered_model()
    if model is None:
        return
    from flask_app.model.registry_follower import RegistryFollower

    store = ArtifactStore(settings.model_store)
    RegistryFollower(model, store, settings.registry_poll_seconds, settings.public_keys()).watch()
