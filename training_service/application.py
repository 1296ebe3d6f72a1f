"""The application factory."""

from __future__ import annotations

import os

from flask import Flask

from training_service import admin_token, problems, request_log
from training_service.admin_token import AdminToken
from training_service.jobs.job_store import Jobs
from training_service.jobs.runner import Runner
from training_service.resources import health, models, options, training
from training_service.settings import Settings, SettingsError
from training_service.unread_body import discard_unread


def create_app(settings: Settings | None = None) -> Flask:
    """The application; its `extensions["runner"]` has still to be started.

    Raises:
        SettingsError: a key, the token or the folder cannot be used, or with no settings passed one of the environment.
    """
    settings = settings or Settings.from_env()
    token = AdminToken(settings)
    registry = settings.registry()
    try:
        # Uploaded tables are nobody else's to read.
        os.makedirs(settings.folder, mode=0o700, exist_ok=True)
        jobs = Jobs(settings.folder / "jobs.sqlite")
    except Exception as error:
        raise SettingsError(f"TRAINING_DIR={settings.training_dir!r} cannot be used: {error}.") from error
    runner = Runner(settings, jobs, registry)
    app = Flask(__name__, static_folder=None)
    app.extensions["runner"] = runner
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    # The order of a job's fields is that of its class.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    request_log.init_app(app)
    app.after_request(discard_unread)
    admin_token.init_app(app, token)
    problems.init_app(app)
    app.register_blueprint(health.blueprint(runner))
    app.register_blueprint(options.blueprint(settings))
    app.register_blueprint(training.blueprint(settings, jobs, runner))
    app.register_blueprint(models.blueprint(registry))
    return app
