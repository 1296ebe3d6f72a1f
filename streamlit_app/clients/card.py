"""The model card as the UI needs it: what the model takes, what it answers, and what it tells of itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class CardError(ValueError):
    """The API's card lacks something that the UI cannot do without; the text names it."""


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

    `examples` are rows to start from, by the class that the model gave them; `picture` is there where a row is one.
    `raw` is the whole card, of which nothing else is certain to be there.
    """

    model_name: str
    model_version: str
    features: tuple[FeatureView, ...]
    classes: tuple[str, ...]
    examples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    golden_rows: tuple[tuple[float, ...], ...] = ()
    picture: PictureView | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)


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
    told = entry.get("quantiles")
    quantiles = {
        float(share): _number(value, f"a quantile of {name}")
        for share, value in (told.items() if isinstance(told, dict) else ())
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
    """Rows with their probabilities; what does not fit the schema is left out."""
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
    """For each class the row that the model is surest of, among those that it gives to the class."""
    examples = {}
    for index, name in enumerate(classes):
        mine = [(shares[index], values) for values, shares in golden if shares[index] == max(shares)]
        if mine:
            examples[name] = tuple(max(mine)[1])
    return examples


def _picture(told: Any, features: int) -> PictureView | None:
    """None where the features are no picture, or not the pixels of the one that is told of."""
    if not isinstance(told, dict):
        return None
    width, height = told.get("width"), told.get("height")
    if not isinstance(width, int) or not isinstance(height, int) or width * height != features or width < 1:
        return None
    try:
        minimum = _number(told.get("minimum"), "a picture's minimum")
        maximum = _number(told.get("maximum"), "a picture's maximum")
    except CardError:
        return None
    return PictureView(width, height, minimum, maximum) if minimum < maximum else None


def parse_card(body: Any) -> CardView:
    """The card out of the decoded answer of GET /model. Raises CardError."""
    if not isinstance(body, dict):
        raise CardError("the card is not an object")
    entries, names = body.get("features"), body.get("classes")
    if not isinstance(entries, list) or not entries:
        raise CardError("the card names no features")
    if not isinstance(names, list) or not names:
        raise CardError("the card names no classes")
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
