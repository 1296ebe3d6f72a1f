"""Which of several models answered: the header X-Model-Track."""

from flask import Flask, Response

HEADER = "X-Model-Track"


def init_app(app: Flask, track: str) -> None:
    """Name the track on every answer of Flask's, and to whoever answers without Flask."""

    app.extensions["model_track"] = track

    @app.after_request
    def name_track(response: Response) -> Response:
        response.headers[HEADER] = track
        return response
