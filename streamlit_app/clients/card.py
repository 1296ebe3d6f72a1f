"""The model card as the UI needs it: the model's inputs and classes, and the whole card as it was received."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class CardError(ValueError):
    """The card lacks a member that the UI requires; the text names it."""


@dataclass(frozen=True)
class FeatureView:
    """One input of the model. `minimum`, `maximum`, `median` and `quantiles` (by share) are those of its training
    data, in `unit`."""

    name: str
    unit: str
    integer: bool
    minimum: float
    maximum: float
    median: float
    quantiles: Mapping[float, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PictureView:
    """The features are the pixels of a picture, row by row from the top: `minimum` is empty, `maximum` full ink."""

    width: int
    height: int
    minimum: float
    maximum: float


@dataclass(frozen=True)
class CardView:
    """Name, version, inputs and classes of the model that serves.

    `examples` has a row for each class that the model gives to the class; `picture` is set if a row is a picture.
    `raw` is the whole card, whose further members are optional.
    """

    model_name: str
    model_version: str
    features: tuple[FeatureView, ...]
    classes: tuple[str, ...]
    examples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    golden_rows: tuple[tuple[float, ...], ...] = ()
    picture: PictureView | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


def parse_card(body: Any) -> CardView:
    """Return the card from the decoded answer of GET /model. Raises CardError."""
    if not isinstance(body, dict):
        raise CardError("the card is not an object")
    entries, names = body.get("features"), body.get("classes")
    if not isinstance(entries, list) or not entries:
        raise CardError("the card has no features")
    if not isinstance(names, list) or not names:
        raise CardError("the card has no classes")
    try:
        features = tuple(_feature(entry) for entry in entries)
    except ValueError as error:
        raise CardError(str(error)) from error
    classes = tuple(str(name) for name in names)
    golden = _golden(body, len(features), len(classes))
    return CardView(
        model_name=_text(body.get("model_name"), "model_name"),
        model_version=_text(body.get("model_version"), "model_version"),
        features=features,
        classes=classes,
        examples=_examples(golden, classes),
        golden_rows=tuple(tuple(values) for values, _ in golden),
        picture=_picture(body.get("picture"), len(features)),
        raw=body,
    )


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CardError(f"{what} is not a number")
    return float(value)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise CardError(f"{what} is not a text")
    return value


def _feature(entry: Any) -> FeatureView:
    if not isinstance(entry, dict):
        raise CardError("a feature is not an object")
    name = _text(entry.get("name"), "a feature's name")
    minimum = _number(entry.get("minimum"), f"the minimum of {name}")
    maximum = _number(entry.get("maximum"), f"the maximum of {name}")
    if minimum > maximum:
        raise CardError(f"the minimum of {name} is above its maximum")
    entries = entry.get("quantiles")
    quantiles = {
        float(share): _number(value, f"a quantile of {name}")
        for share, value in (entries.items() if isinstance(entries, dict) else ())
    }
    start = quantiles.get(0.5, minimum / 2 + maximum / 2)
    return FeatureView(
        name=name,
        unit=str(entry.get("unit") or ""),
        integer=str(entry.get("dtype", "")).startswith(("int", "uint")),
        minimum=minimum,
        maximum=maximum,
        median=min(max(start, minimum), maximum),
        quantiles=dict(sorted(quantiles.items())),
    )


def _golden(body: dict[str, Any], features: int, classes: int) -> list[tuple[list[float], list[float]]]:
    """Return the golden rows with their probabilities, without those of another length."""
    rows = body.get("golden_rows")
    found = []
    for entry in rows if isinstance(rows, list) else []:
        try:
            values = [_number(value, "a golden row") for value in entry["features"]]
            shares = [_number(value, "a probability") for value in entry["probabilities"]]
        except (CardError, KeyError, TypeError):
            continue
        if len(values) == features and len(shares) == classes:
            found.append((values, shares))
    return found


def _examples(golden: list[tuple[list[float], list[float]]], classes: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    """Return for each class the row with the highest probability, of the rows that the model gives to the class."""
    examples = {}
    for index, name in enumerate(classes):
        own = [(shares[index], values) for values, shares in golden if shares[index] == max(shares)]
        if own:
            examples[name] = tuple(max(own)[1])
    return examples


def _picture(body: Any, features: int) -> PictureView | None:
    """Return None if the card has no picture, or one with another number of pixels."""
    if not isinstance(body, dict):
        return None
    width, height = body.get("width"), body.get("height")
    if not isinstance(width, int) or not isinstance(height, int) or width * height != features or width < 1:
        return None
    try:
        minimum = _number(body.get("minimum"), "a picture's minimum")
        maximum = _number(body.get("maximum"), "a picture's maximum")
    except CardError:
        return None
    return PictureView(width, height, minimum, maximum) if minimum < maximum else None
