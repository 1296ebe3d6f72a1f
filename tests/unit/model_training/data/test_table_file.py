"""CSV and Parquet files become tables to train from, or one clear sentence."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_training.data.datasets import DataError, Dataset
from model_training.data.table_file import make_dataset, preview, read_table, summarise
from model_training.data.table_source import columns_of


def table_of(folder: Path, content: str | bytes | pa.Table) -> pa.Table:
    path = folder / "flowers.csv"
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path)


def dataset_of(folder: Path, content: str | bytes | pa.Table, target: str | None = "kind", **options: Any) -> Dataset:
    return make_dataset(columns_of(table_of(folder, content)), "flowers", target, **options)


def error_of(folder: Path, content: str | bytes | pa.Table, target: str | None = "kind", **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        dataset_of(folder, content, target, **options)
    return str(caught.value)


def test_numbers_are_features_and_text_is_classes(tmp_path: Path) -> None:
    data = dataset_of(tmp_path, "length,petals,kind\n5.1,3,rose\n4.9,5,lily\n6,4,rose\n", units={"length": "cm"})
    assert [(column.name, column.unit, column.dtype) for column in data.columns] == [
        ("length", "cm", "float"),
        ("petals", None, "integer"),
    ]
    assert data.classes == ("lily", "rose")
    assert data.X.tolist() == [[5.1, 3], [4.9, 5], [6, 4]]
    assert data.y.tolist() == [1, 0, 1]
    assert (data.name, data.target, data.warnings, data.picture) == ("flowers", "kind", (), None)


def test_csv_and_parquet_of_one_table_are_the_same_data(tmp_path: Path) -> None:
    table = pa.table({"a": [0.1, 2.5, None], "b": [1, 2, 3], "kind": ["x", "y", "x"]})
    parquet = dataset_of(tmp_path, table)
    csv = dataset_of(tmp_path, "a,b,kind\n0.1,1,x\n2.5,2,y\n,3,x\n")
    assert parquet.sha256 == csv.sha256
    assert np.isnan(csv.X[2, 0])


def test_whole_number_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    assert dataset_of(tmp_path, "a,kind\n1,10\n2,9\n3,-1\n").classes == ("-1", "9", "10")
    assert dataset_of(tmp_path, "a,kind\n1,1.0\n2,2.0\n3,\n").classes == ("1", "2")
    assert dataset_of(tmp_path, "a,kind\n1,true\n2,false\n").classes == ("false", "true")
    assert dataset_of(tmp_path, pa.table({"a": [1], "kind": pa.array([7]).dictionary_encode()})).classes == ("7",)
    large = pa.table({"a": [1, 2], "kind": pa.array([2**63, 2**63 + 1], pa.uint64())})
    assert dataset_of(tmp_path, large).classes == (str(2**63), str(2**63 + 1))


def test_a_row_without_a_class_is_left_out_with_a_warning(tmp_path: Path) -> None:
    data = dataset_of(tmp_path, 'a,kind\n1,x\n2,\n3,NA\n4,y\n5," "\n')
    assert data.X.ravel().tolist() == [1, 4]
    assert data.classes == ("x", "y")
    assert data.warnings == ("3 of 5 rows have no kind: they are left out.",)


def test_true_and_false_are_one_and_zero_with_a_warning(tmp_path: Path) -> None:
    data = dataset_of(tmp_path, "wet,kind\ntrue,x\nfalse,y\n,x\n")
    assert data.columns[0].dtype == "integer"
    assert data.X[:2].ravel().tolist() == [1, 0] and np.isnan(data.X[2, 0])
    assert "Column wet holds true and false: they are read as 1 and 0" in data.warnings[0]


def test_columns_are_freed_while_they_are_read(tmp_path: Path) -> None:
    """A large table would otherwise be in memory twice."""
    columns = columns_of(table_of(tmp_path, "a,b,kind\n1,2,x\n3,4,y\n"))
    make_dataset(columns, "flowers", "kind")
    assert list(columns) == ["kind"]


def test_a_type_that_changes_in_late_rows_is_found(tmp_path: Path) -> None:
    """Millions of whole numbers, then a fraction; and a column that is empty for as long."""
    head = "a,b,kind\n" + "1,,x\n2,,y\n" * 600_000
    data = dataset_of(tmp_path, head + "1.5,7,x\n")
    assert [column.dtype for column in data.columns] == ["float", "integer"]
    assert data.X[-1].tolist() == [1.5, 7]
    assert "Column a holds text" in error_of(tmp_path, head + "many,7,x\n")


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (pa.array([1, 2], pa.uint8()), "integer"),
        (pa.array([1.5, 2], pa.float32()), "float"),
        (pa.array([decimal.Decimal("1.5"), decimal.Decimal("2.0")]), "float"),
        (pa.array([3, 4]).dictionary_encode(), "integer"),
        (pa.array([True, False]), "integer"),
    ],
)
def test_types_of_parquet_that_are_numbers(tmp_path: Path, array: pa.Array, dtype: str) -> None:
    data = dataset_of(tmp_path, pa.table({"a": array, "kind": ["x", "y"]}))
    assert data.columns[0].dtype == dtype
    assert np.isfinite(data.X).all()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (pa.array(["Rome", "Oslo"]), "Column city holds text, which is not supported yet; turn it into numbers"),
        (pa.array(["Rome", "Oslo"]).dictionary_encode(), "Column city holds text"),
        (pa.array([datetime.date(2026, 1, 1)] * 2), "Column city holds dates or times"),
        (pa.array([datetime.timedelta(1)] * 2), "Column city holds dates or times"),
        (pa.array([[1], [2]]), "Column city holds lists or structures"),
        (pa.array([{"x": 1}] * 2), "Column city holds lists or structures"),
        (pa.array([b"x", b"y"]), "Column city holds values that are neither numbers nor UTF-8 text"),
        (pa.nulls(2), "Column city has no value at all; ignore it"),
    ],
)
def test_unsupported_columns_are_rejected_by_name(tmp_path: Path, array: pa.Array, words: str) -> None:
    table = pa.table({"a": [1, 2], "city": array, "kind": ["x", "y"]})
    message = error_of(tmp_path, table)
    assert words in message and "--ignore city" in message
    assert [column.usable for column in summarise(table)] == [True, False, False]
    assert [column.name for column in dataset_of(tmp_path, table, ignore=["city"]).columns] == ["a"]


def test_every_rejected_column_is_named(tmp_path: Path) -> None:
    message = error_of(tmp_path, "a,b,day,kind\nx,y,2026-01-01,k\n")
    assert message.startswith("Columns a and b hold text, which is not supported yet; turn them into numbers")
    assert "Column day holds dates or times" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "The file flowers.csv cannot be read: the CSV is empty; its first line must name the columns."),
        (" \n", "the CSV is empty"),
        ("a|kind\n1|x\n", "commas, semicolons or tabs must separate its values"),
        ("a,a,kind\n1,2,x\n", "cannot be read: a appears more than once among the columns."),
        ("A, A,kind\n1,2,x\n", "cannot be read: A appears more than once among the columns."),
        (",a,kind\n0,2,x\n", "Column 1 of flowers.csv has no name"),
        (f"{'n' * 129},kind\n1,x\n", "The name of column 1"),
        ("a,b\x07,kind\n1,2,x\n", "The name of column 2 of flowers.csv, 'b\\x07'"),
        ("a,kind\n1,x\n1,2,3\n", "The file flowers.csv cannot be read: row 2 has 3 cells, not 2."),
        ('a,kind\n1,"x\n2,y\n', 'cannot be read: a quote (") is never closed'),
        (b"\x1f\x8b\x08\x00aaaa", "neither CSV"),
        (b"\x89PNG\r\n\x00", "neither CSV"),
        (b"PAR1 and then nothing", "The file flowers.csv cannot be read"),
        (b"a,k\xefnd\n1,x\n", "the CSV is not UTF-8 at byte 3"),
        (b"a,kind\n1,ros\xe9\n", "the CSV is not UTF-8"),
    ],
)
def test_a_file_without_a_table_is_a_sentence(tmp_path: Path, content: str | bytes, words: str) -> None:
    message = error_of(tmp_path, content)
    assert words in message
    assert "\n" not in message and "pyarrow" not in message


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        ("a,kind\n1,x\n", None, "Name the column to predict (--target); there are a and kind."),
        ("a,kind\n1,x\n", "species", "There is no column species (target); there are a and kind."),
        ("a,kind\n1,1.5\n", "kind", "Column kind holds numbers with fractions"),
        ("a,kind\n1,inf\n", "kind", "Column kind holds numbers with fractions"),
        ("a,kind\n1,\n", "kind", "Column kind has no value at all"),
        ("a,kind\n1,2026-01-01\n", "kind", "Column kind holds dates or times"),
        ("a,kind\n" + "".join(f"1,{n}\n" for n in range(1001)), "kind", "Column kind has 1,001 different values"),
        (f"a,kind\n1,{'x' * 129}\n", "kind", "a class's name has at most 128 characters"),
        ('a,kind\n1,"x\ny"\n2,z\n', "kind", r"Column kind has the class 'x\ny', and a class's name is printable"),
        ("a,kind\n1,\x1b[31mx\n2,z\n", "kind", r"Column kind has the class '\x1b[31mx'"),
    ],
)
def test_an_invalid_target_is_a_sentence(tmp_path: Path, content: str, target: str | None, words: str) -> None:
    assert words in error_of(tmp_path, content, target)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ignore": ["b"]}, "There is no column b (ignored)"),
        ({"ignore": ["kind"]}, "Column kind is to be predicted and cannot be ignored"),
        ({"units": {"b": "cm"}}, "The units name b, which is not a feature"),
        ({"units": {"a": 5}}, "The unit of a must be text"),
    ],
)
def test_options_that_do_not_fit_the_table_are_a_sentence(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    assert words in error_of(tmp_path, "a,kind\n1,x\n", **options)


def test_a_feature_must_not_have_a_name_of_the_answer(tmp_path: Path) -> None:
    message = error_of(tmp_path, "a,prediction,probability_x,kind\n1,2,3,x\n")
    assert message == "Columns prediction and probability_x have a name of a column of the predictions; rename it."
    assert dataset_of(tmp_path, "a,prediction\n1,x\n2,y\n", "prediction").classes == ("x", "y")


def test_a_file_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_table(tmp_path)


def test_a_byte_order_mark_and_quotes_are_accepted(tmp_path: Path) -> None:
    data = dataset_of(tmp_path, b'\xef\xbb\xbf"a","b","kind"\r\n"1.5","","x"\r\n"2","3","y"\r\n')
    assert [column.name for column in data.columns] == ["a", "b"]
    assert data.X[:, 0].tolist() == [1.5, 2] and np.isnan(data.X[0, 1])


def test_cells_and_names_are_read_by_the_rules_of_table_io(tmp_path: Path) -> None:
    content = "number; whole ;gap;hex;kind\n1.5\u00a0;007;  ;0x10;x\n+2;\t8;NA;1;y\n"
    table = table_of(tmp_path, content)
    assert table.column_names == ["number", "whole", "gap", "hex", "kind"]
    assert table.to_pydict() == {
        "number": [1.5, 2],
        "whole": [7, 8],
        "gap": [None, None],
        "hex": ["0x10", "1"],
        "kind": ["x", "y"],
    }
    assert [column.dtype for column in summarise(table)] == ["float", "integer", "empty", "text", "text"]


def test_the_summary_and_preview_show_what_was_found(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a,wet,city,kind\n1.5,true,Rome,x\n,false,,y\n-inf,,,z\n" + "2,true,Bonn,x\n" * 5)
    assert [(c.name, c.dtype, c.usable, c.missing, c.minimum, c.maximum) for c in summarise(table)] == [
        ("a", "float", True, 1, float("-inf"), 2),
        ("wet", "boolean", True, 1, 0, 1),
        ("city", "text", False, 2, None, None),
        ("kind", "text", False, 0, None, None),
    ]
    rows = preview(table)
    assert len(rows) == 5
    assert rows[:3] == [[1.5, True, "Rome", "x"], [None, False, None, "y"], [None, None, None, "z"]]
