"""The paths of the document, except those of the Open Inference Protocol."""

from typing import Any

from flask_app.openapi.examples import Examples
from flask_app.openapi.responses import BODY, answers, get_operation, good, json_content
from flask_app.openapi.schemas import reference
from flask_app.settings import ApiSettings
from flask_app.tables.media_type import ARROW, CSV, FAIL, KEEP, MODEL_VERSION, PARQUET

Operation = dict[str, Any]

TAGS = [
    {"name": "prediction", "description": "Classes, probabilities and explanations."},
    {"name": "model", "description": "The served model."},
    {"name": "open inference protocol", "description": "Version 2, for the clients of Triton, MLServer and KServe."},
    {"name": "operation", "description": "Probes, metrics, and this document."},
]

_EXPLAIN = {
    "name": "explain",
    "in": "query",
    "description": "true adds contributions and base_values, as /explain does; for one row only.",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
}

_ON_ERROR = {
    "name": "on_error",
    "in": "query",
    "description": (
        f"What a row of a file does that cannot be predicted: {FAIL} rejects the file with 422; with {KEEP} every row"
        " comes back, and the column `error` has the reason."
    ),
    "schema": {"type": "string", "enum": [FAIL, KEEP], "default": FAIL},
}


_TEXT = {"type": "string"}


def make_paths(examples: Examples, settings: ApiSettings) -> dict[str, Any]:
    """Return every path with its operations."""
    get = {
        "/model": get_operation("model", "model", "The model's card", json_content("ModelCard"), 503),
        "/health": get_operation("health", "operation", "Liveness probe", json_content("Health")),
        "/ready": get_operation("ready", "operation", "Readiness probe", json_content("Ready"), 503),
        "/metrics": get_operation("metrics", "operation", "Metrics for Prometheus", {"text/plain": {"schema": _TEXT}})
        | {"description": "All workers summed. Not reachable through Nginx."},
        "/openapi.json": get_operation(
            "document", "operation", "This document", {"application/json": {"schema": {"type": "object"}}}, 503
        ),
        "/docs": get_operation("docs", "operation", "This document as a page", {"text/html": {"schema": _TEXT}}),
    }
    return {
        "/predict": {"post": _predict(examples, settings)},
        "/explain": {"post": _explain(examples)},
        **{path: {"get": operation} for path, operation in get.items()},
    }


def _row_examples(examples: Examples) -> dict[str, Any]:
    return {"by_name": {"value": examples.by_name}, "by_position": {"value": examples.by_position}}


def _predict(examples: Examples, settings: ApiSettings) -> Operation:
    request = {
        "application/json": {
            "schema": {"anyOf": [reference("Row"), reference("Rows")]},
            "examples": {**_row_examples(examples), "many_rows": {"value": examples.rows}},
        },
        **_tables(examples.csv),
    }
    answer = json_content(
        "Prediction", one_row=examples.prediction, explained=examples.explanation, many_rows=examples.predictions
    )
    kinds = ("Prediction", "Explanation", "Predictions")
    answer["application/json"]["schema"] = {"anyOf": [reference(kind) for kind in kinds]}
    return {
        "operationId": "predict",
        "summary": "Predict one row, many rows, or a file",
        "description": (
            f"JSON: one row, or up to {settings.max_rows:,} rows as `instances`, in at most"
            f" {settings.max_body_bytes:,} bytes. `warnings` names each value outside its"
            " training range.\n\n"
            f"A file of at most {settings.max_file_bytes:,} bytes: columns by name in any order; other columns are"
            " kept. The answer is the same table with the columns `prediction`, `class_name` and one"
            " `probability_<class>` for each class, in the format of `Accept`, or else of the request."
        ),
        "tags": ["prediction"],
        "parameters": [_EXPLAIN, _ON_ERROR],
        "requestBody": {"required": True, "content": request},
        "responses": answers(
            good("Classes and probabilities.", {**answer, **_tables(examples.csv_answer)}, MODEL_VERSION), 406, *BODY
        ),
    }


def _tables(csv_example: str) -> dict[str, Any]:
    return {
        CSV: {"schema": _TEXT, "examples": {"csv": {"value": csv_example}}},
        ARROW: {"schema": {**_TEXT, "contentMediaType": ARROW}},
        PARQUET: {"schema": {**_TEXT, "contentMediaType": PARQUET}},
    }


def _explain(examples: Examples) -> Operation:
    return {
        "operationId": "explain",
        "summary": "Predict and explain one row",
        "description": (
            "The contribution of each feature to each class's margin (log-odds): SHAP values, from TreeSHAP for trees"
            " and exact for a linear model. A class's base value and its contributions add up to its margin; softmax"
            " over the margins gives the probabilities."
        ),
        "tags": ["prediction"],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": reference("Row"), "examples": _row_examples(examples)}},
        },
        "responses": answers(
            good(
                "The prediction, with contributions and base values.",
                json_content("Explanation", one_row=examples.explanation),
            ),
            *BODY,
        ),
    }
