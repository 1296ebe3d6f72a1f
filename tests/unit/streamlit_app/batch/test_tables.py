"""Reading what visitors send: CSV and Parquet, ordinary, odd and hostile."""

import io

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from streamlit_app.batch import table as table_module
from streamlit_app.batch.table import TableError, check_table, match_columns, read_table
from streamlit_app.clients.card import CardView, FeatureView

LENGTH = FeatureView("petal_length", "cm", False, 1.0, 7.0, 4.0)
COUNT = FeatureView("count", "", True, 0.0, 9.0, 3.0)
CARD = CardView("flowers", "1", (LENGTH, COUNT), ("a", "b"))
PLAIN = {"petal_length": "petal_length", "count": "count"}


def as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def test_csv_keeps_every_cell_as_it_is():
    table, errors = read_table(b'\xef\xbb\xbfid,petal_length,note\r\n007,1.50,"a, b\nc"\r\n008,2,\r\n')
    assert table.to_pylist() == [
        {"id": "007", "petal_length": "1.50", "note": "a, b\nc"},
        {"id": "008", "petal_length": "2", "note": ""},
    ]
    assert errors == []


def test_lines_of_another_width_are_named_and_left_out():
    table, errors = read_table(b"a,b\n1,2\n3\n4,5,6\n7,8\n")
    assert table.num_rows == 2
    assert [(error.row, error.message.split(";")[0]) for error in errors] == [
        (2, "has 1 cells instead of 2"),
        (3, "has 3 cells instead of 2"),
    ]


def test_parquet_comes_back_as_written():
    given = pa.table({"petal_length": [1.5, None], "count": pa.array([1, 2], pa.int32()), "note": ["x", None]})
    table, _ = read_table(as_parquet(given))
    assert table.equals(given)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b"a,b\n", "no rows"),
        (b"a,a\n1,2\n", "a stands there twice"),
        (b"a,b\n\xff\xfe,1\n", "cannot be read"),
        (b"PAR1 and then nothing", "Parquet file cannot be read"),
        (as_parquet(pa.table({"a": [1, 2, 3]}))[:-40], "Parquet file cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_with_a_next_step(data, reason):
    with pytest.raises(TableError, match=reason) as caught:
        read_table(data)
    assert ":" in str(caught.value) and str(caught.value).endswith((".", "CSV", "header row."))
    assert "Traceback" not in str(caught.value)


def test_every_flipped_byte_of_a_parquet_file_is_a_table_or_a_sentence():
    good = as_parquet(pa.table({"petal_length": [1.5, 2.5], "note": ["x", "y"]}))
    random = np.random.default_rng(0)
    for position in random.choice(len(good) - 8, 6, replace=False).tolist():
        bad = bytearray(good)
        bad[position + 4] ^= 0xFF
        try:
            table, _ = read_table(bytes(bad))
            assert table.num_columns <= 2
        except TableError as error:
            assert str(error)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_more_rows_than_a_page_holds_are_refused(monkeypatch, kind):
    monkeypatch.setattr(table_module, "MOST_ROWS", 3)
    data = b"a\n" + b"1\n" * 4 if kind == "csv" else as_parquet(pa.table({"a": [1] * 4}))
    with pytest.raises(TableError, match="more than 3 rows"):
        read_table(data)


def test_columns_are_found_whatever_their_case_and_signs():
    assert match_columns(["Count", "Petal Length (cm)"], CARD) == {
        "petal_length": "Petal Length (cm)",
        "count": "Count",
    }
    assert match_columns(["petal_length", "PETAL LENGTH"], CARD) == {"petal_length": "petal_length", "count": None}
    # Two that are alike are nobody's guess.
    assert match_columns(["Petal Length", "PETAL LENGTH"], CARD)["petal_length"] is None


def test_bad_cells_are_named_and_their_rows_left_out():
    cells = ["1.5", "abc", "", " 2.5 ", "nan", "1e99", "1_0", "-.5e1"]
    table = pa.table({"petal_length": cells, "count": ["1", "2", "3", "4.0", "5", "6", "7", "1.5"]})
    checked = check_table(table, CARD, PLAIN)
    assert checked.rows.tolist() == [0, 3]
    assert checked.features.to_pydict() == {"petal_length": [1.5, 2.5], "count": [1, 4]}
    assert checked.features.schema.field("count").type == pa.int64()
    assert checked.error_count == 6
    assert [(error.row, error.column, error.message) for error in checked.errors] == [
        (2, "petal_length", "“abc” is not a number"),
        (3, "petal_length", "is empty"),
        (5, "petal_length", "“nan” is not a number"),
        (6, "petal_length", "1e99 is beyond 32-bit floating point"),
        (7, "petal_length", "“1_0” is not a number"),
        (8, "count", "1.5 is not a whole number"),
    ]


def test_numbers_of_parquet_are_taken_and_others_are_not():
    table = pa.table({"petal_length": pa.array([1.5, None, float("inf")]), "count": pa.array([1, 2, 3], pa.uint8())})
    checked = check_table(table, CARD, PLAIN)
    assert checked.rows.tolist() == [0]
    assert [error.message for error in checked.errors] == ["is empty", "“inf” is not a number"]
    booleans = pa.table({"petal_length": pa.array([True, False]), "count": pa.array([1, 2])})
    assert [error.message for error in check_table(booleans, CARD, PLAIN).errors] == [
        "“True” is not a number",
        "“False” is not a number",
    ]
