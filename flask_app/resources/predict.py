"""`POST /predict`: predict one row, many rows, or a file."""

from collections.abc import Iterator
from contextlib import ExitStack

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from flask_app.answers import encode
from flask_app.model.explanation import explain_row
from flask_app.model.prediction import predict_row, predict_rows
from flask_app.model.served_model import ModelHolder, ServedModel
from flask_app.resources.explain import reject_explanation, wants_explanation
from flask_app.rows.instances import has_instances, read_instances
from flask_app.rows.json_body import parse_json, read_json_bytes
from flask_app.settings import ApiSettings
from flask_app.tables import media_type, upload
from http_service.problems import Problem
from http_service.request_id import current_request_id


def blueprint(holder: ModelHolder, settings: ApiSettings) -> Blueprint:
    """Return the endpoint."""
    predict = Blueprint("predict", __name__)
    slots = upload.FileSlots(settings.threads)

    @predict.post("/predict")
    def predict_body() -> ResponseReturnValue:
        """Predict JSON or a file, by Content-Type."""
        if request.mimetype in media_type.MEDIA_TYPES:
            return predict_file()
        return predict_json(holder.require())

    def predict_json(served: ServedModel) -> Response:
        """Predict one row, {name: value} or {"features": [...]}, or many rows, {"instances": [row, ...]}."""
        explained = wants_explanation(request)
        raw = read_json_bytes(request)
        rows = served.rows_decoder.decode(raw, settings.max_rows)
        if rows is not None:
            reject_explanation(request)
            answer = predict_rows(served, rows)
        elif has_instances(served.row_schema, body := parse_json(raw)):
            reject_explanation(request)
            answer = predict_rows(served, read_instances(served.row_schema, body, settings.max_rows))
        else:
            answer = explain_row(served, body) if explained else predict_row(served, body)
        answer["request_id"] = current_request_id()
        return Response(encode(answer), content_type="application/json")

    def predict_file() -> Response:
        """Return the table with the predictions, streamed after the whole file has been checked."""
        cleanup = ExitStack()
        try:
            served = holder.require()
            media_type.check_request(request)
            reject_explanation(request)
            wanted = media_type.answer_type(request)
            slots.take()
            cleanup.callback(slots.give_back)
        except Problem:
            upload.discard(request, settings.max_file_bytes)
            raise
        try:
            file = cleanup.enter_context(upload.receive(request, settings.max_file_bytes, settings.spool_dir))
            # Imported here: pyarrow takes 40 MB, which a service without files does not need.
            from flask_app.tables.scoring import score

            pieces = score(served, file, request.mimetype, wanted, settings.max_file_bytes, settings.spool_dir)
        except BaseException:
            cleanup.close()
            raise
        answer = Response(_then(pieces, cleanup), content_type=_content_type(wanted))
        # A generator that never started does not run its cleanup.
        answer.call_on_close(cleanup.close)
        return answer

    return predict


def _content_type(wanted: str) -> str:
    return f"{wanted}; charset=utf-8" if wanted == media_type.CSV else wanted


def _then(pieces: Iterator[bytes], cleanup: ExitStack) -> Iterator[bytes]:
    with cleanup:
        yield from pieces
