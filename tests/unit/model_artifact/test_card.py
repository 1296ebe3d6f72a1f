"""The model card: valid cards, and the sentence for invalid ones."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_artifact.card import ModelCard, decode_card, encode_card

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def card(trained_store: Path) -> dict[str, Any]:
    version = (trained_store / "current").read_text().strip()
    return json.loads((trained_store / "versions" / version / "model_card.json").read_bytes())


def test_card_survives_a_round_trip(card: dict[str, Any]) -> None:
    decoded = decode_card(json.dumps(card).encode())
    assert isinstance(decoded, ModelCard)
    assert json.loads(encode_card(decoded)) == card
    assert encode_card(decoded).endswith(b"}\n")


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda card: card.update(card_format=2), "format 2, and this program reads format 1"),
        (lambda card: card.update(card_format=2, metrics="of another format"), "format 2, and"),
        (lambda card: card.pop("card_format"), "missing required field `card_format`"),
        (lambda card: card.pop("classes"), "missing required field `classes`"),
        (lambda card: card.update(licence="MIT"), "unknown field `licence`"),
        (lambda card: card["features"][1].update(scale=2), r"unknown field `scale`.*features"),
        (lambda card: card["features"][1].update(minimum="4"), r"Expected `float`, got `str`.*minimum"),
        (lambda card: card["features"][1].update(minimum=None), r"Expected `float`, got `null`.*minimum"),
        (lambda card: card["features"][1].update(dtype="category"), r"Invalid enum value 'category'.*dtype"),
        (lambda card: card.update(features=[]), r"length >= 1.*features"),
        (lambda card: card.update(classes=["one"]), r"length >= 2.*classes"),
        (lambda card: card.update(golden_rows=[]), r"length >= 1.*golden_rows"),
        (lambda card: card.update(classes=["a", "b", "a"]), "two of its class names are the same"),
        (lambda card: card["features"][1].update(name="sepal_length"), "two of its feature names are the same"),
        (lambda card: card["features"][1].update(name=""), r"length >= 1.*name"),
        (lambda card: card.update(model_version="../../etc"), "model_version"),
        (lambda card: card["artifact"].update(sha256="0" * 63), "sha256"),
        (lambda card: card["artifact"].update(bytes=-1), "bytes"),
    ],
)
def test_the_error_of_an_invalid_card_names_the_field(card: dict[str, Any], edit: Edit, sentence: str) -> None:
    edit(card)
    with pytest.raises(ValueError, match=sentence):
        decode_card(json.dumps(card).encode())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe{}",
        b'{"card_format": 1, "\xff": 1}',
        b'{"card_format": NaN}',
        b'{"card_format": 1e999}',
        b"\x00" * 100,
        b"[" * 100_000,
        pytest.param(b'{"x":' + b"[" * 100_000, id="deep"),
    ],
)
def test_invalid_bytes_are_a_value_error(raw: bytes) -> None:
    """Any other exception would end the API's process at its start."""
    with pytest.raises(ValueError, match=r"\w"):
        decode_card(raw)


@pytest.mark.parametrize("version", ["a/b", "..", ".hidden", "", "a b", "é", "x" * 129, "-rf", "a\x00", "\na", "a\n"])
def test_a_version_is_one_plain_path_segment(card: dict[str, Any], version: str) -> None:
    card["model_version"] = version
    with pytest.raises(ValueError, match="model_version"):
        decode_card(json.dumps(card).encode())


def test_version_of_training_sorts_by_time(card: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{8}", card["model_version"])
    assert card["trained_at"].replace("-", "").replace(":", "").startswith(card["model_version"][:8] + "T")
