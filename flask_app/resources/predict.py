"""`POST /predict`: predict one row, many rows, or a file."""

import threading
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
from http_service.problems import InvalidFields, Problem
from http_service.request_id import current_request_id
from http_service.slots import occupied

_BUSY = "The service already works on as many files as it can; send this one again in a moment."


def blueprint(holder: ModelHolder, settings: ApiSettings) -> Blueprint:
    """Return the endpoint."""
    predict = Blueprint("predict", __name__)
    # Half of the threads for files, so that single rows find a free one.
    slots = threading.BoundedSemaphore(max(1, settings.threads // 2))

    @predict.post("/predict")
    def predict_body() -> ResponseReturnValue:
        """Predict JSON or a file, by Content-Type."""
        if request.mimetype in media_type.MEDIA_TYPES:
            return predict_file()
        return predict_json(holder.require())

    def predict_json(served: ServedModel) -> Response:
        """Predict one row, {name: value} or {"features": [...]}, or many rows, {"instances": [row, ...]}."""
        explained = wants_explanation(request)
        if media_type.keeps_errors(request):
            raise InvalidFields([{"field": "on_error", "message": "is for files only; send JSON without it"}])
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
            keep_errors = media_type.keeps_errors(request)
            wanted = media_type.answer_type(request)
            cleanup.enter_context(occupied(slots, _BUSY, 2))
        except Problem:
            upload.discard(request, settings.max_file_bytes)
            raise
        try:
            file = cleanup.enter_context(upload.receive(request, settings.max_file_bytes, settings.spool_dir))
            # Imported here: pyarrow takes 40 MB, which a service without files does not need.
            from flask_app.tables.scoring import score

            given, answered = media_type.KINDS[request.mimetype], media_type.KINDS[wanted]
            pieces = score(served, file, given, answered, keep_errors, settings.max_file_bytes, settings.spool_dir)
        except BaseException:
            cleanup.close()
            raise
        answer = Response(_then(pieces, cleanup), content_type=_content_type(wanted))
        answer.headers[media_type.MODEL_VERSION] = served.version
        # A generator that never started does not run its cleanup.
        answer.call_on_close(cleanup.close)
        return answer

    return predict


def _content_type(wanted: str) -> str:
    return f"{wanted}; charset=utf-8" if wanted == media_type.CSV else wanted


def _then(pieces: Iterator[bytes], cleanup: ExitStack) -> Iterator[bytes]:
    with cleanup:
        yield from pieces
