"""The header X-Model-Track: which of several models answered."""

from flask import Flask, Response

HEADER = "X-Model-Track"


def init_app(app: Flask, track: str) -> None:
    """Add the header to every answer of Flask; the fast path reads the track from the application."""

    app.extensions["model_track"] = track

    @app.after_request
    def name_track(response: Response) -> Response:
        response.headers[HEADER] = track
        return response
