"""`GET /ready`."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from http_service.problems import Problem
from training_service.jobs.runner import Runner


def blueprint(runner: Runner) -> Blueprint:
    """Return the probe, which needs no token."""
    readiness = Blueprint("readiness", __name__)

    @readiness.get("/ready")
    def ready() -> ResponseReturnValue:
        """Answer 200 while the runner takes jobs from the queue, else 503 with the reason."""
        reason = runner.why_not_ready()
        if reason:
            raise Problem(503, reason, headers={"Retry-After": "1"})
        return {"status": "ready"}

    return readiness
