"""The model card as the UI needs it: what the model takes, and what it answers."""

import math
from dataclasses import dataclass
from typing import Any


class CardError(ValueError):
    """The API's card lacks something that the UI cannot do without; the text names it."""


@dataclass(frozen=True)
class Feature:
    """One input of the model. `minimum`, `maximum` and `median` are those of its training data, in `unit`."""

    name: str
    unit: str
    integer: bool
    minimum: float
    maximum: float
    median: float


@dataclass(frozen=True)
class ModelCard:
    """Name, version, inputs and classes of the model that serves."""

    model_name: str
    model_version: str
    features: tuple[Feature, ...]
    classes: tuple[str, ...]


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CardError(f"{what} is not a number")
    return float(value)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise CardError(f"{what} is not a text")
    return value


def _feature(entry: Any) -> Feature:
    if not isinstance(entry, dict):
        raise CardError("a feature is not an object")
    name = _text(entry.get("name"), "a feature's name")
    minimum = _number(entry.get("minimum"), f"the minimum of {name}")
    maximum = _number(entry.get("maximum"), f"the maximum of {name}")
    if minimum > maximum:
        raise CardError(f"the minimum of {name} is above its maximum")
    quantiles = entry.get("quantiles")
    median = quantiles.get("0.5") if isinstance(quantiles, dict) else None
    start = minimum / 2 + maximum / 2 if median is None else _number(median, f"the median of {name}")
    return Feature(
        name=name,
        unit=str(entry.get("unit") or ""),
        integer=str(entry.get("dtype", "")).startswith(("int", "uint")),
        minimum=minimum,
        maximum=maximum,
        median=min(max(start, minimum), maximum),
    )


def parse_card(body: Any) -> ModelCard:
    """The card out of the decoded answer of GET /model. Raises CardError."""
    if not isinstance(body, dict):
        raise CardError("the card is not an object")
    features, classes = body.get("features"), body.get("classes")
    if not isinstance(features, list) or not features:
        raise CardError("the card names no features")
    if not isinstance(classes, list) or not classes:
        raise CardError("the card names no classes")
    return ModelCard(
        model_name=_text(body.get("model_name"), "model_name"),
        model_version=_text(body.get("model_version"), "model_version"),
        features=tuple(_feature(entry) for entry in features),
        classes=tuple(str(name) for name in classes),
    )
