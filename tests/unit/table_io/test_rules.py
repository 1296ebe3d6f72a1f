"""The rules of table_io: what is a number, a gap, a name, and which dialects of CSV are read."""

import io
import math

import pyarrow as pa
import pytest

from table_io.cells import GAPS, numbers, typed
from table_io.csv_table import CsvTable
from table_io.errors import TableFormatError
from table_io.kinds import kind_of_file
from table_io.names import MAX_COLUMNS, clean_names
from table_io.reader import read_typed


def csv_table(text: str | bytes, **options: object) -> CsvTable:
    return CsvTable(io.BytesIO(text if isinstance(text, bytes) else text.encode()), **options)


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        *[("5.1", 5.1), ("-5", -5), ("+5", 5), ("007", 7), ("5.", 5), (".5", 0.5), ("1e3", 1000), ("1E-3", 0.001)],
        *[(" 5.1 ", 5.1), ("5.1\t", 5.1), ("5.1\u00a0", 5.1), ("\u20095", 5), ("99999999999999999999", 1e20)],
        *[("inf", math.inf), ("-Infinity", -math.inf), ("1e400", math.inf), ("1e-400", 0)],
        *[(cell, None) for cell in ("", "  ", "\u00a0", *GAPS)],
        *[
            (cell, None)
            for cell in ("long", "5 cm", "50%", "5,1", "1,000", "1_000", "0x10", "1d3", "true", "None", "5e")
        ],
        *[(cell, None) for cell in ("\uff15", "\u22125", "2026-01-01", ".", "-", "1\x002")],
    ],
)
# Alone, and where another cell makes the column one that needs its whitespace removed.
@pytest.mark.parametrize("other", [[], [" 1"], ["?"]])
def test_numbers(cell: str, number: float | None, other: list[str]) -> None:
    value = numbers(pa.array([cell, *other]))[0]
    assert math.isnan(value) if number is None else value == number


@pytest.mark.parametrize(
    "column", [pa.array([1, None]), pa.array([1.0, math.nan]), pa.array([1, None], pa.decimal128(5))]
)
def test_columns_of_numbers_have_gaps_too(column: pa.Array) -> None:
    values = numbers(column)
    assert values[0] == 1 and math.isnan(values[1])


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "007", "-3"], "int64", [1, 7, -3]),
        (["1", " 2\u00a0", "NA", "", "  "], "int64", [1, 2, None, None, None]),
        (["1", "2.5"], "double", [1, 2.5]),
        (["1", "+2"], "double", [1, 2]),
        (["1.5", "nan"], "double", [1.5, None]),
        (["inf", "1e400"], "double", [math.inf, math.inf]),
        (["99999999999999999999"], "double", [1e20]),
        (["true", "FALSE", "null"], "bool", [True, False, None]),
        (["0x10", "1"], "string", ["0x10", "1"]),
        (["1", "many", "NA"], "string", ["1", "many", None]),
        ([" yes", "Yes"], "string", [" yes", "Yes"]),
        (["NA", "", "n/a"], "null", [None, None, None]),
    ],
)
def test_types_of_text_columns(cells: list[str], kind: str, values: list[object]) -> None:
    column = typed(pa.array(cells))
    assert (str(column.type), column.to_pylist()) == (kind, values)


@pytest.mark.parametrize("cell", ["2026-01-01", "2026-01-01 10:30:00", "2026-01-01T10:30:00Z"])
def test_dates_and_times(cell: str) -> None:
    assert pa.types.is_temporal(typed(pa.array([cell, ""])).type)


@pytest.mark.parametrize(
    ("blocks", "kind", "values"),
    [
        (["1", "2.5"], "double", [1, 2.5]),
        (["NA", "1"], "int64", [None, 1]),
        (["1", "many"], "string", ["1", "many"]),
        (["NA", "many"], "string", [None, "many"]),
        (["2026-01-01", "2026-01-01 10:30:00"], "timestamp[us]", None),
        (["2026-01-01", "NA"], "date32[day]", None),
        (["true", "7"], "string", ["true", "7"]),
    ],
)
def test_blocks_of_one_column_agree_on_its_kind(blocks: list[str], kind: str, values: list[object] | None) -> None:
    filler = "x" * 60
    table = read_typed(csv_table("a,b\n" + "".join(f"{cell},{filler}\n" for cell in blocks), block_bytes=64))
    assert table.column("a").num_chunks == len(blocks)
    assert str(table.schema.types[0]) == kind
    if values:
        assert table.column("a").to_pylist() == values


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,2\n", ["a", "b"]),
        ("a;b\n1;2\n", ["a", "b"]),
        ("a\tb\n1\t2\n", ["a", "b"]),
        ('"a;b",c\n1,2\n', ["a;b", "c"]),
        ('"a,b";c\n1;2\n', ["a,b", "c"]),
        ("a;b,c\n1,2\n", ["a;b", "c"]),
        ("\ufeff a,b \n1,2\n", ["a", "b"]),
        ("\u00a0a\u00a0,b\r\n1,2\r\n", ["a", "b"]),
        ("a,B\n1,2\n", ["a", "B"]),
        ("\n\na,\n1,2\n", ["a", ""]),
        ("a\n1\n", ["a"]),
    ],
)
def test_names_and_delimiters(text: str, names: list[str]) -> None:
    table = csv_table(text)
    assert table.schema.names == names
    (batch,) = table.batches()
    assert [column.to_pylist() for column in batch.columns] == [["1"], ["2"]][: len(names)]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            ["a", "a", "b", "b "],
            "a appears more than once among the columns; b appears more than once among the columns.",
        ),
        (["", " "], "an empty name appears more than once among the columns."),
        (["a"] * (MAX_COLUMNS + 1), "The table has more than 10000 columns; keep only those that you need."),
    ],
)
def test_names_that_cannot_be_used(names: list[str], sentence: str) -> None:
    with pytest.raises(TableFormatError) as caught:
        clean_names(names)
    assert str(caught.value) == sentence


def test_ragged_rows_stay_in_their_place_in_every_block() -> None:
    lines = [f"{number},{number}" if number % 7 else f"{number}" for number in range(1, 500)]
    table = csv_table("a,b\n" + "\n".join(lines) + "\n", block_bytes=64, keep_ragged=True)
    rows = [
        (row["a"], row["b"], row.get(""))
        for batch in table.batches()
        for row in pa.RecordBatch.from_arrays(batch.columns, names=batch.schema.names).to_pylist()
    ]
    assert rows == [
        (str(number), str(number), None) if number % 7 else (str(number), "", "has 1 cells, not 2")
        for number in range(1, 500)
    ]
    with pytest.raises(TableFormatError) as caught:
        list(csv_table("a,b\n" + "\n".join(lines) + "\n").batches())
    assert caught.value.faults == [("row 7", "has 1 cells, not 2")]


def test_a_ragged_row_of_a_later_block_is_named() -> None:
    """Arrow reads a block ahead."""
    table = csv_table("a,b\n" + "1,2\n" * 20 + "3\n", block_bytes=32)
    with pytest.raises(TableFormatError, match=r"^row 21 has 1 cells, not 2\.$"):
        read_typed(table)


def test_a_kind_is_known_by_the_first_bytes() -> None:
    assert kind_of_file(b"PAR1...") == "parquet"
    assert kind_of_file(b"a,b\n") == kind_of_file(b"") == "csv"
    for head in (b"PK\x03\x04", b"\x1f\x8b\x08", b"a\0b", "a,b".encode("utf-16")):
        with pytest.raises(TableFormatError, match="neither CSV nor Parquet"):
            kind_of_file(head)
