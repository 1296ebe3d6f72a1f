"""`GET /health`: the process answers. `GET /ready`: it takes jobs."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from http_service.problems import Problem
from training_service.jobs.runner import Runner


def blueprint(runner: Runner) -> Blueprint:
    """The two probes, which need no token."""
    probes = Blueprint("health", __name__)

    @probes.get("/health")
    def health() -> ResponseReturnValue:
        """200 as long as the process answers."""
        return {"status": "ok"}

    @probes.get("/ready")
    def ready() -> ResponseReturnValue:
        """200 when jobs are taken from the queue, else 503 with the reason."""
        reason = runner.why_not_ready()
        if reason:
            raise Problem(503, reason, headers={"Retry-After": "1"})
        return {"status": "ready"}

    return probes
