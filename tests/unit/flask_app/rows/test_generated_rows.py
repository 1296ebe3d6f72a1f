"""The bulk decoder gives exactly what the row reader gives, for generated features and bodies."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flask_app.rows.json_body import parse_json
from flask_app.rows.row_schema import RowSchema
from flask_app.rows.rows_decoder import MEMBER, RowsDecoder
from http_service.problems import Problem
from model_artifact.card import Feature

EXAMPLES = settings(max_examples=400, deadline=None, database=None, derandomize=True)

_ODD = ["1e400", "-1e400", "1e39", "3.4028234663852886e38", "3.40282356779733e38", "NaN", "-Infinity", "-0", "1.0e0"]
_ODD += ["true", "null", '"5.1"', "[1]", "{}", "01", "1.", ".5", "9" * 310, "9007199254740993", "1e-400", "-0.0", ""]
_good = (
    st.floats(-1e30, 1e30, allow_nan=False).map(repr)
    | st.integers(-(10**20), 10**20).map(str)
    | st.integers(0, 9).map(str)
)
_names = st.text(min_size=1, max_size=6) | st.sampled_from(["features", MEMBER, 'a"b', "\u00e9", "a\\b"])


@st.composite
def cases(draw: st.DrawFn, numbers: st.SearchStrategy[str]) -> tuple[list[Feature], str]:
    """Features, and a body whose rows mostly fit them."""
    names = draw(st.lists(_names, min_size=1, max_size=4, unique=True))
    kinds = st.sampled_from(["float", "float", "integer"])
    features = [Feature(name, None, draw(kinds), 0, 1, {}) for name in names]
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        values = [draw(numbers) for _ in names]
        if draw(st.booleans()):
            rows.append(f'{{"features":[{",".join(values)}]}}')
        else:
            given = draw(st.permutations(names)) if draw(st.booleans()) else names
            given = [draw(st.sampled_from([name] * 30 + ["x"])) for name in given]
            escaped = draw(st.booleans())
            pairs = zip(given, values, strict=True)
            texts = [f"{json.dumps(name, ensure_ascii=escaped)}: {value}" for name, value in pairs]
            rows.append(f"{{{','.join(texts)}}}")
    return features, f'{{"{MEMBER}": [{", ".join(rows)}]}}'


def read_each(features: list[Feature], body: bytes) -> list[list[float]] | None:
    """Return the rows as the row reader gives them; None if one is not accepted."""
    schema = RowSchema(features)
    try:
        found: Any = parse_json(body)
        return [schema.read(row) for row in found[MEMBER]]
    except Problem:
        return None


@EXAMPLES
@given(case=cases(_good | st.sampled_from(_ODD)))
def test_it_decodes_the_same_rows_as_the_row_reader(case: tuple[list[Feature], str]) -> None:
    features, text = case
    body = text.encode("utf-8", "replace")
    matrix = RowsDecoder(features).decode(body, 100)
    if matrix is not None:
        rows = read_each(features, body)
        assert rows is not None
        # As text: -0.0 equals 0.0.
        assert repr(matrix.tolist()) == repr(rows)


@EXAMPLES
@given(
    values=st.lists(st.lists(st.floats(-1e30, 1e30), min_size=3, max_size=3), min_size=1, max_size=5),
    by_name=st.booleans(),
)
def test_clean_rows_take_the_fast_path(values: list[list[float]], by_name: bool) -> None:
    features = [Feature(name, None, "float", 0, 1, {}) for name in "abc"]
    rows = [dict(zip("abc", row, strict=True)) if by_name else {"features": row} for row in values]
    matrix = RowsDecoder(features).decode(json.dumps({MEMBER: rows}).encode(), 100)
    assert matrix is not None
    assert repr(matrix.tolist()) == repr(values)
