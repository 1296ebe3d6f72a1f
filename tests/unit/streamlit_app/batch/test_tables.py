"""Reading what visitors upload: CSV and Parquet, ordinary, odd and hostile."""

import io

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from streamlit_app.batch import table as table_module
from streamlit_app.batch.table import match_columns, read_table, select_features
from streamlit_app.clients.card import CardView, FeatureView
from table_io.errors import TableFormatError

LENGTH = FeatureView("petal_length", "cm", False, 1.0, 7.0, 4.0)
COUNT = FeatureView("count", "", True, 0.0, 9.0, 3.0)
CARD = CardView("flowers", "1", (LENGTH, COUNT), ("a", "b"))


def as_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def test_csv_keeps_every_cell_as_it_is():
    table, errors = read_table(b'\xef\xbb\xbfid;petal_length;note\r\n007;1.50;"a; b\nc"\r\n008;2;\r\n')
    assert table.to_pylist() == [
        {"id": "007", "petal_length": "1.50", "note": "a; b\nc"},
        {"id": "008", "petal_length": "2", "note": ""},
    ]
    assert errors.to_pylist() == [None, None]


def test_rows_of_another_width_are_named_and_kept():
    table, errors = read_table(b"a,b\n1,2\n3\n4,5,6\n7,8\n")
    assert table.to_pydict() == {"a": ["1", "3", "4", "7"], "b": ["2", "", "5", "8"]}
    assert errors.to_pylist() == [None, "has 1 cells, not 2", "has 3 cells, not 2", None]


@pytest.mark.parametrize("rows", [2, 50_000])
def test_parquet_comes_back_as_written(rows):
    given = pa.table({"petal_length": [1.5, None] * (rows // 2), "note": ["x", None] * (rows // 2)})
    given = given.append_column("kind", pa.array(["a", "b"] * (rows // 2)).dictionary_encode())
    table, errors = read_table(as_parquet(given))
    assert table.equals(given)
    assert errors.null_count == rows


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b"a,b\n", "no rows"),
        (b"a,a\n1,2\n", "a appears more than once"),
        (b"a,b\n\xff\xfe,1\n", "not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "neither CSV nor Parquet"),
        (b"PK\x03\x04", "neither CSV nor Parquet"),
        (b"PAR1 and then nothing", "not a Parquet file"),
        (as_parquet(pa.table({"a": [1, 2, 3]}))[:-40], "not a Parquet file"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(data, reason):
    with pytest.raises(TableFormatError, match=reason) as caught:
        read_table(data)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_every_flipped_byte_of_a_parquet_file_is_a_table_or_a_sentence():
    good = as_parquet(pa.table({"petal_length": [1.5, 2.5], "note": ["x", "y"]}))
    random = np.random.default_rng(0)
    for position in random.choice(len(good) - 8, 6, replace=False).tolist():
        bad = bytearray(good)
        bad[position + 4] ^= 0xFF
        try:
            table, _ = read_table(bytes(bad))
            assert table.num_columns <= 2
        except TableFormatError as error:
            assert str(error)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_more_rows_than_a_page_holds_are_an_error(monkeypatch, kind):
    monkeypatch.setattr(table_module, "MAX_ROWS", 3)
    data = b"a\n" + b"1\n" * 4 if kind == "csv" else as_parquet(pa.table({"a": [1] * 4}))
    with pytest.raises(TableFormatError, match="more than 3 rows"):
        read_table(data)


def test_a_small_file_that_unpacks_to_too_much_is_an_error(monkeypatch):
    monkeypatch.setattr(table_module, "MAX_UNPACKED_BYTES", 1024**2)
    with pytest.raises(TableFormatError, match="unpacks to more than 1 MB"):
        read_table(as_parquet(pa.table({"a": np.zeros(400_000)})))


def test_columns_are_found_whatever_their_case_and_signs():
    assert match_columns(["Count", "Petal Length (cm)"], CARD) == {
        "petal_length": "Petal Length (cm)",
        "count": "Count",
    }
    assert match_columns(["petal_length", "PETAL LENGTH"], CARD) == {"petal_length": "petal_length", "count": None}
    # Two matching columns are ambiguous.
    assert match_columns(["Petal Length", "PETAL LENGTH"], CARD)["petal_length"] is None


def test_features_get_their_names():
    table = pa.table({"Count": [1, None], "L": pa.array(["1.5", None]).dictionary_encode(), "note": ["x", "y"]})
    features = select_features(table, {"petal_length": "L", "count": "Count"})
    assert features.to_pydict() == {"petal_length": ["1.5", ""], "count": [1, None]}
