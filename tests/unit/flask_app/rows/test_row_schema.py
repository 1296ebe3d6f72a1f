"""Validating rows against the card of any model: the invalid fields, and the reasons."""

from typing import Any

import pytest

from flask_app.rows.row_schema import RowSchema
from http_service.problems import MAX_ERRORS, InvalidFields
from model_artifact.card import Feature


def _feature(name: str, dtype: Any = "float", unit: str | None = "cm") -> Feature:
    return Feature(name=name, unit=unit, dtype=dtype, minimum=0, maximum=10, quantiles={})


@pytest.fixture
def schema() -> RowSchema:
    """The schema of another model than the irises'."""
    return RowSchema([_feature("height"), _feature("count", "integer", unit=None), _feature("Länge (cm)")])


GOOD = {"height": 1.5, "count": 2, "Länge (cm)": 3.0}


def _errors(schema: RowSchema, row: Any) -> dict[str, str]:
    with pytest.raises(InvalidFields) as invalid:
        schema.read(row)
    return {error["field"]: error["message"] for error in invalid.value.errors}


@pytest.mark.parametrize(
    "row", [GOOD, dict(reversed(GOOD.items())), {"features": [1.5, 2, 3.0]}, {"features": [1.5, 2.0, 3]}]
)
def test_values_come_in_the_cards_order(schema: RowSchema, row: Any) -> None:
    values = schema.read(row)
    assert values == [1.5, 2.0, 3.0]
    assert all(type(value) is float for value in values)


def test_every_bad_field_is_named_at_once(schema: RowSchema) -> None:
    """A person can then correct the row at once."""
    assert _errors(schema, {"height": "1", "width": 1, "count": 1.5}) == {
        "width": "is not a feature of this model",
        "height": "must be a number, not a string",
        "count": "must be a whole number",
        "Länge (cm)": "is missing",
    }


@pytest.mark.parametrize("name", ["Height", "height ", " height", "HEIGHT", "Länge", "", "__proto__", "\ud800", "a\n"])
def test_a_similar_name_is_unknown(schema: RowSchema, name: str) -> None:
    assert _errors(schema, {**GOOD, name: 1}) == {name: "is not a feature of this model"}


@pytest.mark.parametrize("row", [{}, {"instances": []}])
def test_an_empty_row_lacks_every_feature(schema: RowSchema, row: Any) -> None:
    errors = _errors(schema, row)
    assert [name for name, message in errors.items() if message == "is missing"] == list(GOOD)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "must hold 3 numbers (height, count, Länge (cm)), not 0"),
        ([1, 2], "must hold 3 numbers (height, count, Länge (cm)), not 2"),
        ([1, 2, 3, 4], "must hold 3 numbers (height, count, Länge (cm)), not 4"),
        ([[1, 2, 3]], "must hold 3 numbers (height, count, Länge (cm)), not 1"),
        ({"height": 1}, "must be an array, not an object"),
        ("1,2,3", "must be an array, not a string"),
        (None, "must be an array, not null"),
        (7, "must be an array, not a number"),
        (True, "must be an array, not a boolean"),
    ],
)
def test_features_is_an_array_of_the_exact_width(schema: RowSchema, features: Any, message: str) -> None:
    assert _errors(schema, {"features": features}) == {"features": message}


def test_the_two_forms_do_not_mix(schema: RowSchema) -> None:
    assert _errors(schema, {"features": [1, 2, 3], "height": 1}) == {"height": "is unknown beside features"}


def test_a_model_may_have_a_feature_called_features() -> None:
    schema = RowSchema([_feature("features"), _feature("b")])
    assert schema.read({"features": 1, "b": 2}) == [1.0, 2.0]


@pytest.mark.parametrize(("value", "good"), [(2, True), (2.0, True), (-0.0, True), (2.5, False), (1e30, True)])
def test_a_whole_number_may_be_written_with_a_point(schema: RowSchema, value: float, good: bool) -> None:
    if good:
        assert schema.read({**GOOD, "count": value})[1] == value
    else:
        assert _errors(schema, {**GOOD, "count": value}) == {"count": "must be a whole number"}


def test_an_answer_with_many_errors_is_bounded(schema: RowSchema) -> None:
    with pytest.raises(InvalidFields) as invalid:
        schema.read({f"{'x' * 1000}{index:06}": 1 for index in range(10_000)})
    assert len(invalid.value.errors) == MAX_ERRORS
    assert len(invalid.value.detail) < 200 * MAX_ERRORS
    assert invalid.value.detail.endswith(f"; and {10_000 + 3 - MAX_ERRORS} more.")


@pytest.mark.parametrize(
    ("values", "warned"),
    [([0, 0, 0], []), ([10, 10, 10], []), ([-0.1, 5, 10.1], ["height", "Länge (cm)"]), ([5, 11, 5], ["count"])],
)
def test_warnings_are_for_values_outside_the_range_only(schema: RowSchema, values: Any, warned: list[str]) -> None:
    assert [warning["field"] for warning in schema.warnings(values)] == warned


def test_a_warning_without_a_unit_has_no_dangling_space(schema: RowSchema) -> None:
    assert schema.warnings([5, 11, 5])[0]["message"] == "11 lies outside the training range, 0 to 10"
