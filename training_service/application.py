"""The application factory."""

from __future__ import annotations

import os

from flask import Flask

from http_service.application import make_app
from http_service.settings import SettingsError
from training_service import admin_token, unavailable
from training_service.admin_token import AdminToken
from training_service.jobs.job_store import JobStore
from training_service.jobs.runner import Runner
from training_service.resources import models, options, readiness, training
from training_service.settings import TrainingServiceSettings


def create_app(settings: TrainingServiceSettings | None = None) -> Flask:
    """Return the application; the caller starts its `extensions["runner"]`.

    settings: those of the environment if None.

    Raises:
        SettingsError: a setting is invalid, or the folder cannot be used.
    """
    settings = settings or TrainingServiceSettings.from_env()
    token = AdminToken(settings)
    registry = settings.registry()
    try:
        # Only the owner may read uploaded tables.
        os.makedirs(settings.folder, mode=0o700, exist_ok=True)
        jobs = JobStore(settings.folder / "jobs.sqlite")
    except Exception as error:
        raise SettingsError(f"TRAINING_DIR={settings.training_dir!r} cannot be used: {error}.") from error
    runner = Runner(settings, jobs, registry)
    app = make_app(__name__)
    app.extensions["runner"] = runner
    # A job's fields keep the order of its class.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    admin_token.init_app(app, token)
    unavailable.init_app(app)
    app.register_blueprint(readiness.blueprint(runner))
    app.register_blueprint(options.blueprint(settings))
    app.register_blueprint(training.blueprint(settings, jobs, runner))
    app.register_blueprint(models.blueprint(registry))
    return app
