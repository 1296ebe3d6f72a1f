"""A Flask application with the shared parts."""

from flask import Flask

from http_service import problems, request_log


def make_app(import_name: str) -> Flask:
    """Return an application that logs each request, answers every error as a problem, and has the liveness probe."""
    app = Flask(import_name, static_folder=None)
    # A path with an extra slash is unknown: most clients turn a redirected POST into a GET.
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    request_log.init_app(app)
    problems.init_app(app)

    @app.get("/health")
    def health() -> dict[str, str]:
        """Answer 200 while the process runs, whatever its state: a restart repairs neither a model nor a queue."""
        return {"status": "ok"}

    return app
