"""The schemas of the document."""

from typing import Any

import msgspec

from flask_app import answers
from flask_app.inference_protocol import messages
from flask_app.inference_protocol.inference import OUTPUTS
from flask_app.inference_protocol.tensors import DATATYPES
from flask_app.model.served_model import ServedModel
from model_artifact.card import ModelCard

Schema = dict[str, Any]

_PREFIX = "#/components/schemas/"
_ANSWERS = (
    answers.ProblemDocument,
    answers.Health,
    answers.Ready,
    answers.Prediction,
    answers.Explanation,
    answers.Predictions,
    answers.ServerLive,
    answers.ServerReady,
    answers.ModelReady,
    messages.ServerMetadata,
    messages.ModelMetadata,
    messages.InferRequest,
    messages.InferResponse,
    ModelCard,
)


def reference(name: str) -> Schema:
    """Return a reference to a schema in the components."""
    return {"$ref": _PREFIX + name}


def make_schemas(served: ServedModel, max_rows: int) -> dict[str, Schema]:
    """Return every schema by name, with the features and classes of the model's card."""
    _, schemas = msgspec.json.schema_components(_ANSWERS, ref_template=_PREFIX + "{name}")
    schemas["Row"] = served.row_schema.json_schema()
    card = served.artifact.card
    names = [feature.name for feature in card.features]
    by_feature = _each(names, {"type": "number"})
    for name in ("Prediction", "Explanation"):
        members = schemas[name]["properties"]
        members["prediction"].update(minimum=0, maximum=len(card.classes) - 1)
        members["class_name"]["enum"] = list(card.classes)
        members["probabilities"] = _each(card.classes, {"type": "number", "minimum": 0, "maximum": 1})
    explanation = schemas["Explanation"]["properties"]
    explanation["contributions"] = _each(card.classes, by_feature)
    explanation["base_values"] = _each(card.classes, {"type": "number"})
    rows = schemas["Predictions"]["properties"]
    rows["predictions"]["items"] = schemas["Prediction"]["properties"]["prediction"]
    rows["class_names"]["items"] = schemas["Prediction"]["properties"]["class_name"]
    rows["probabilities"]["items"].update(minItems=len(card.classes), maxItems=len(card.classes))
    schemas["Rows"] = {
        "title": "Rows",
        "description": f"One to {max_rows:,} rows, each in either form.",
        "type": "object",
        "properties": {"instances": {"type": "array", "items": reference("Row"), "minItems": 1, "maxItems": max_rows}},
        "required": ["instances"],
        "additionalProperties": False,
    }
    schemas["RequestInput"]["properties"]["datatype"]["enum"] = list(DATATYPES)
    schemas["RequestOutput"]["properties"]["name"]["enum"] = list(OUTPUTS)
    schemas["ProblemDocument"]["properties"]["status"].update(minimum=400, maximum=599)
    return schemas


def _each(names: list[str], schema: Schema) -> Schema:
    """Return the schema of an object with exactly these members."""
    return {
        "type": "object",
        "properties": dict.fromkeys(names, schema),
        "required": list(names),
        "additionalProperties": False,
    }
