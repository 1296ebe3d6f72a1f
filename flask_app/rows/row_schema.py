"""Validate a row against the features of a model card."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import astuple

from flask_app.rows.matrix import LARGEST
from http_service.problems import FieldError, InvalidFields
from model_artifact.card import Feature

_KINDS = {bool: "a boolean", str: "a string", type(None): "null", list: "an array", dict: "an object"}
_MAX_SHOWN = 100


class RowSchema:
    """Reads a row, by name in any order or as an array in the card's order."""

    def __init__(self, features: list[Feature]) -> None:
        self.features = features
        self._names = tuple(feature.name for feature in features)
        self._known = frozenset(self._names)
        self._whole = tuple(index for index, feature in enumerate(features) if feature.dtype == "integer")
        self._ranges = tuple((feature.minimum, feature.maximum) for feature in features)
        self._by_name: msgspec.json.Decoder[Any] | None = None
        if named := row_by_name(self._names):
            self._by_name = msgspec.json.Decoder(named)
        self._by_position: msgspec.json.Decoder[Any] | None = None
        if "features" not in self._known:
            self._by_position = msgspec.json.Decoder(row_by_position(len(features)))

    def read(self, row: Any) -> list[float]:
        """Return the row's values in the card's order.

        Raises:
            InvalidFields: fields are missing, unknown or not finite numbers; it names each.
        """
        if not isinstance(row, dict):
            raise InvalidFields([{"field": "body", "message": f"must be a JSON object, not {_kind(row)}"}])
        if "features" in row and "features" not in self._known:
            return self._check(self._positional(row), [])
        errors: list[FieldError] = [
            {"field": name[:_MAX_SHOWN], "message": "is not a feature of this model"}
            for name in row
            if name not in self._known
        ]
        return self._check({name: row[name] for name in self._names if name in row}, errors)

    def decode(self, body: bytes) -> tuple[float, ...] | None:
        """Return the values of a row in JSON, in the card's order; None if `read` must decide, as for any error.

        Ten times faster than parsing and `read`.
        """
        positional = self._by_position is not None and b'"features"' in body
        decoder, names = (self._by_position, 1) if positional else (self._by_name, len(self._names))
        # The decoder accepts a duplicate name; the number of quotes reveals it.
        if decoder is None or body.count(b'"') != 2 * names:
            return None
        try:
            decoded = decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        values: tuple[float, ...] = decoded.features if positional else astuple(decoded)
        for value in values:
            # The largest number itself may have been written as one just above it.
            if not -LARGEST < value < LARGEST:
                return None
        for index in self._whole:
            if not values[index].is_integer():
                return None
        # -0 is the integer 0 and -0.0 is a float, which a warning shows; the decoder does not distinguish them.
        if 0.0 in values and any(value == 0 and math.copysign(1, value) < 0 for value in values):
            return None
        return values

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON schema of a row; the training range is only described, since other values get a warning."""
        values = {feature.name: _value_schema(feature) for feature in self.features}
        forms: list[dict[str, Any]] = [
            {
                "title": "Row by name",
                "description": "Each feature by its name, in any order.",
                "type": "object",
                "properties": values,
                "required": list(self._names),
                "additionalProperties": False,
            }
        ]
        if "features" not in self._known:
            array = {
                "description": f"In this order: {', '.join(self._names)}.",
                "type": "array",
                "prefixItems": list(values.values()),
                "items": False,
                "minItems": len(values),
                "maxItems": len(values),
            }
            forms.append(
                {
                    "title": "Row by position",
                    "description": "All features as an array, in the model's order.",
                    "type": "object",
                    "properties": {"features": array},
                    "required": ["features"],
                    "additionalProperties": False,
                }
            )
        return {"title": "Row", "description": "One row, in either form.", "oneOf": forms}

    def warnings(self, values: Sequence[float]) -> list[FieldError]:
        """Return a warning for each value outside the training range."""
        for value, (low, high) in zip(values, self._ranges, strict=True):
            if not low <= value <= high:
                return self._all_warnings(values)
        return []

    def _all_warnings(self, values: Sequence[float]) -> list[FieldError]:
        return [
            {
                "field": feature.name,
                "message": f"{_shown(value)} lies outside the training range,"
                + f" {feature.minimum:g} to {feature.maximum:g}"
                + (f" {feature.unit}" if feature.unit else ""),
            }
            for feature, value in zip(self.features, values, strict=True)
            if not feature.minimum <= value <= feature.maximum
        ]

    def _positional(self, row: dict[str, Any]) -> dict[str, Any]:
        errors: list[FieldError] = [
            {"field": name[:_MAX_SHOWN], "message": "is unknown beside features"} for name in row if name != "features"
        ]
        values = row["features"]
        if not isinstance(values, list):
            errors.append({"field": "features", "message": f"must be an array, not {_kind(values)}"})
        elif len(values) != len(self._names):
            order = ", ".join(self._names)
            errors.append(
                {"field": "features", "message": f"must hold {len(self._names)} numbers ({order}), not {len(values)}"}
            )
        if errors:
            raise InvalidFields(errors)
        return dict(zip(self._names, values, strict=True))

    def _check(self, given: dict[str, Any], errors: list[FieldError]) -> list[float]:
        values = []
        for feature in self.features:
            if feature.name not in given:
                errors.append({"field": feature.name, "message": "is missing"})
                continue
            value = given[feature.name]
            fault = _fault(value, feature)
            if fault:
                errors.append({"field": feature.name, "message": fault})
            else:
                values.append(float(value))
        if errors:
            raise InvalidFields(errors)
        return values


def row_by_name(names: Sequence[str]) -> type[msgspec.Struct] | None:
    """Return the struct of a row by name, with a float for each name; None if msgspec does not support a name."""
    fields = {f"value_{index}": name for index, name in enumerate(names)}
    try:
        return msgspec.defstruct(
            "Row", [(field, float) for field in fields], rename=fields, forbid_unknown_fields=True, gc=False
        )
    # A name with a quote, a backslash or a control character.
    except ValueError:
        return None


def row_by_position(number: int) -> type[msgspec.Struct]:
    """Return the struct of a row by position: `features`, a tuple of this number of floats."""
    values: Any = tuple[(float,) * number]  # type: ignore[misc]
    return msgspec.defstruct("Row", [("features", values)], forbid_unknown_fields=True, gc=False)


def _value_schema(feature: Feature) -> dict[str, Any]:
    unit = f" {feature.unit}" if feature.unit else ""
    return {
        "title": feature.name,
        "description": f"Trained on {feature.minimum:g} to {feature.maximum:g}{unit}; other values get a warning.",
        "type": "integer" if feature.dtype == "integer" else "number",
        "minimum": -LARGEST,
        "maximum": LARGEST,
    }


def _fault(value: Any, feature: Feature) -> str | None:
    # Not isinstance: a boolean is an int to Python.
    if type(value) is not float and type(value) is not int:
        return f"must be a number, not {_kind(value)}"
    if value != value or value in (math.inf, -math.inf):
        return "must be a finite number"
    if not -LARGEST <= value <= LARGEST:
        return "must be a number that fits 32-bit floating point"
    if feature.dtype == "integer" and value != int(value):
        return "must be a whole number"
    return None


def _shown(value: float) -> str:
    """Return six digits, or all of them: 7.9000001 must not be shown as 7.9, outside 4.3 to 7.9."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")
