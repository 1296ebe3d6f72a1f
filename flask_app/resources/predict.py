"""`POST /predict`: the class of one row, of many, or of each row of a file."""

from collections.abc import Iterator
from contextlib import ExitStack

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from flask_app.answers import encode
from flask_app.model.explanation import explain_row
from flask_app.model.prediction import predict_row
from flask_app.model.served_model import ModelHolder, ServedModel
from flask_app.resources.explain import asks_for_reasons, refuse_reasons
from flask_app.rows.instances import holds_instances, predict_instances, predict_rows
from flask_app.rows.json_body import parse_json, read_json_bytes
from flask_app.settings import ApiSettings
from flask_app.tables import media_type, upload
from http_service.problems import Problem
from http_service.request_id import current_request_id


def blueprint(holder: ModelHolder, settings: ApiSettings) -> Blueprint:
    """Prediction."""
    predict = Blueprint("predict", __name__)
    slots = upload.FileSlots(settings.threads)

    @predict.post("/predict")
    def predict_body() -> ResponseReturnValue:
        """One row or many as JSON, or a file; its type decides."""
        if request.mimetype in media_type.MEDIA_TYPES:
            return predict_file()
        return predict_json(holder.require())

    def predict_json(served: ServedModel) -> Response:
        """One row as an object of features or as {"features": [...]}, or {"instances": [row, ...]}."""
        explained = asks_for_reasons(request)
        raw = read_json_bytes(request)
        rows = served.rows_decoder.decode(raw, settings.max_rows)
        if rows is not None:
            refuse_reasons(request)
            answer = predict_rows(served, rows)
        elif holds_instances(served, body := parse_json(raw)):
            refuse_reasons(request)
            answer = predict_instances(served, body, settings.max_rows)
        else:
            answer = explain_row(served, body) if explained else predict_row(served, body)
        answer["request_id"] = current_request_id()
        return Response(encode(answer), content_type="application/json")

    def predict_file() -> Response:
        """The same table with the predictions, streamed once all of it has been checked."""
        cleanup = ExitStack()
        try:
            served = holder.require()
            media_type.check_request(request)
            refuse_reasons(request)
            wanted = media_type.answer_type(request)
            slots.take()
            cleanup.callback(slots.give_back)
        except Problem:
            upload.discard(request, settings.max_file_bytes)
            raise
        try:
            file = cleanup.enter_context(upload.receive(request, settings.max_file_bytes, settings.spool_dir))
            # Only here, since it loads pyarrow: 40 MB of memory that a service without files does not need.
            from flask_app.tables.scoring import score

            pieces = score(served, file, request.mimetype, wanted, settings.max_file_bytes, settings.spool_dir)
        except BaseException:
            cleanup.close()
            raise
        answer = Response(_then(pieces, cleanup), content_type=_content_type(wanted))
        # Pieces that were never begun have no end.
        answer.call_on_close(cleanup.close)
        return answer

    return predict


def _content_type(wanted: str) -> str:
    return f"{wanted}; charset=utf-8" if wanted == media_type.CSV else wanted


def _then(pieces: Iterator[bytes], cleanup: ExitStack) -> Iterator[bytes]:
    with cleanup:
        yield from pieces
