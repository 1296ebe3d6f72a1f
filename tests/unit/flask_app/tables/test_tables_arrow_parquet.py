"""Arrow streams and Parquet files on `/predict`: right answers, and a 422 for hostile bytes."""

import io
import random
import struct
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pyarrow import parquet

from model_training.data.datasets import load_iris

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
ADDED = ["prediction", "class_name", "probability_setosa", "probability_versicolor", "probability_virginica"]


def irises(**more: Any) -> pa.Table:
    rows = load_iris().X
    return pa.table({**{name: rows[:, index] for index, name in enumerate(NAMES)}, **more})


def arrow(table: pa.Table, rows: int | None = None, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def as_parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(table, sink, **options)
    return sink.getvalue()


WRITE = {ARROW: arrow, PARQUET: as_parquet}


def ask(client: FlaskClient, body: bytes, content_type: str, accept: str = "*/*") -> Any:
    return client.post("/predict", data=body, content_type=content_type, headers={"Accept": accept})


def read(answer: Any) -> pa.Table:
    assert answer.status_code == 200, answer.text
    if answer.content_type == ARROW:
        return pa.ipc.open_stream(answer.data).read_all()
    assert answer.content_type == PARQUET
    return parquet.read_table(io.BytesIO(answer.data))


def error_of(answer: Any, status: int = 422) -> str:
    assert answer.status_code == status, answer.data[:500]
    assert answer.content_type == "application/problem+json"
    return answer.json["detail"]


@pytest.mark.parametrize("given", [ARROW, PARQUET])
@pytest.mark.parametrize("wanted", [ARROW, PARQUET])
def test_answers_are_those_of_single_rows_and_other_columns_come_back(
    client: FlaskClient, given: str, wanted: str
) -> None:
    extra = {
        "id": pa.array(range(150), pa.uint64()),
        "text": pa.array(["007", None, ""] * 50),
        "species": pa.array(["a", "b", None] * 50).dictionary_encode(),
        "when": pa.array(range(150), pa.timestamp("us", tz="UTC")),
        "price": pa.array(range(150), pa.decimal128(9, 2)),
        "raw": pa.array([b"\xff\x00"] * 150),
        "flag": pa.array([True, False, None] * 50),
        "nothing": pa.nulls(150),
    }
    table = irises(**extra).select(["text", "petal_width", *list(extra)[2:], "id", *NAMES[:3]])
    answered = read(ask(client, WRITE[given](table), given, wanted))
    assert answered.column_names == [*table.column_names, *ADDED]
    assert answered.select(table.column_names).to_pylist() == table.to_pylist()
    kinds = {field.name: field.type for field in answered.schema}
    assert {name: kinds[name] for name in table.column_names} == dict(
        zip(table.column_names, table.schema.types, strict=True)
    )
    many = client.post(
        "/predict", json={"instances": [{name: row[name] for name in NAMES} for row in table.to_pylist()]}
    ).json
    assert answered["prediction"].to_pylist() == many["predictions"]
    assert answered["class_name"].to_pylist() == many["class_names"]
    assert np.array([answered[name] for name in ADDED[2:]]).T.tolist() == many["probabilities"]


@pytest.mark.parametrize("given", [ARROW, PARQUET])
def test_csv_is_returned_if_requested(client: FlaskClient, given: str) -> None:
    table = irises(
        text=['say "hi", you', None, "007"] * 50,
        species=pa.array(["a,b", None, "c"] * 50).dictionary_encode(),
        when=pa.array([0] * 150, pa.timestamp("ms")),
        flag=[True, None, False] * 50,
    )
    answer = ask(client, WRITE[given](table), given, "text/csv")
    assert answer.status_code == 200, answer.text
    lines = answer.text.splitlines()
    assert lines[0] == ",".join([*table.column_names, *ADDED])
    assert lines[1].startswith('5.1,3.5,1.4,0.2,"say ""hi"", you","a,b",1970-01-01 00:00:00.000,true,0,setosa,0.')
    assert lines[2].startswith("4.9,3,1.4,0.2,,,1970-01-01 00:00:00.000,,0,setosa,0.")


@pytest.mark.parametrize("wanted", [ARROW, PARQUET])
def test_csv_comes_back_with_numbers_and_text(client: FlaskClient, wanted: str) -> None:
    body = b"id,petal_width,sepal_length,sepal_width,petal_length\n007, 0.20,5.1,3.5,1.4\n"
    answered = read(ask(client, body, "text/csv", wanted))
    assert [str(kind) for kind in answered.schema.types[:5]] == ["string", *["double"] * 4]
    assert answered.to_pylist()[0].items() >= {"id": "007", "petal_width": 0.2, "class_name": "setosa"}.items()


@pytest.mark.parametrize("kind", ["int8", "uint64", "int64", "float32", "float16", "float64", "decimal128(5, 2)"])
@pytest.mark.parametrize("given", [ARROW, PARQUET])
def test_features_may_be_of_any_type_of_number(client: FlaskClient, kind: str, given: str) -> None:
    made = pa.decimal128(5, 2) if kind.startswith("decimal") else pa.type_for_alias(kind)
    table = pa.table(
        {
            name: pa.array([Decimal(5), Decimal(1)] if kind.startswith("decimal") else np.array([5, 1], kind), made)
            for name in NAMES
        }
    )
    answered = read(ask(client, WRITE[given](table), given))
    alone = client.post("/predict", json={"features": [5, 5, 5, 5]}).json
    assert answered["prediction"][0].as_py() == alone["prediction"]
    assert answered.schema.types[0] == made


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array(["1"] * 150), "petal_width must be a column of numbers, not of type string"),
        (pa.array(["1"] * 150).dictionary_encode(), "must be a column of numbers, not of type dictionary"),
        (pa.array([True] * 150), "not of type bool"),
        (pa.array([[1.0]] * 150), "not of type list"),
        (pa.array([{"a": 1}] * 150), "not of type struct"),
        (pa.array([0] * 150, pa.timestamp("s")), "must be a column of numbers"),
        (pa.nulls(150), "not of type null"),
        (pa.array([1.0] * 149 + [None]), "row 150, petal_width is empty"),
        (pa.array([1.0] * 149 + [float("nan")]), "row 150, petal_width must be a finite number"),
        (pa.array([float("-inf")] + [1.0] * 149), "row 1, petal_width must be a finite number"),
        (pa.array([1e39] * 150), "row 1, petal_width must be a number that fits"),
    ],
)
@pytest.mark.parametrize("given", [ARROW, PARQUET])
def test_a_bad_column_or_cell_is_named(client: FlaskClient, column: pa.Array, words: str, given: str) -> None:
    table = irises().drop(["petal_width"]).append_column("petal_width", column)
    # Rows are counted across batches and row groups.
    body = arrow(table, rows=40) if given == ARROW else as_parquet(table, row_group_size=40)
    assert words in error_of(ask(client, body, given))


@pytest.mark.parametrize("given", [ARROW, PARQUET])
def test_unsupported_columns_are_named(client: FlaskClient, given: str) -> None:
    assert "petal_width is missing" in error_of(ask(client, WRITE[given](irises().drop(["petal_width"])), given))
    taken = irises(class_name=["a"] * 150)
    assert "class_name is a column of the answer" in error_of(ask(client, WRITE[given](taken), given))
    nested = irises(points=[[1, 2]] * 150)
    assert "points is of type list" in error_of(ask(client, WRITE[given](nested), given))
    raw = irises(raw=[b"a"] * 150)
    assert "raw holds bytes" in error_of(ask(client, WRITE[given](raw), given, "text/csv"))
    unknown_zone = irises(at=pa.array([0] * 150, pa.timestamp("us", "Nowhere/City")))
    assert "at is of type timestamp[us, tz=Nowhere/City], which cannot be written as CSV" in error_of(
        ask(client, WRITE[given](unknown_zone), given, "text/csv")
    )
    twice = pa.Table.from_arrays([*irises().columns, irises()["petal_width"]], names=[*NAMES, "petal_width"])
    if given == ARROW:
        assert "petal_width appears more than once" in error_of(ask(client, arrow(twice), given))
        interval = irises(interval=pa.array([pa.MonthDayNano([1, 2, 3])] * 150))
        assert "interval is of type month_day" in error_of(ask(client, arrow(interval), given))
    wide = pa.table({**{name: [1.0] for name in NAMES}, **{f"c{index}": [1] for index in range(10_000)}})
    assert "more than 10000 columns" in error_of(ask(client, WRITE[given](wide), given))


@pytest.mark.parametrize("given", [ARROW, PARQUET])
def test_a_table_without_rows_comes_back_without_rows(client: FlaskClient, given: str) -> None:
    answered = read(ask(client, WRITE[given](irises().slice(0, 0)), given))
    assert (answered.num_rows, answered.column_names) == (0, NAMES + ADDED)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_compressed_batches_are_read(client: FlaskClient, compression: str) -> None:
    assert read(ask(client, arrow(irises(), compression=compression), ARROW)).num_rows == 150


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_parquet_of_every_kind_is_read(client: FlaskClient, compression: str, version: str) -> None:
    body = as_parquet(irises(text=["a"] * 150), compression=compression, data_page_version=version, row_group_size=7)
    assert read(ask(client, body, PARQUET)).num_rows == 150


@pytest.mark.parametrize("rows", [40_000, 200_000])
@pytest.mark.parametrize("given", [ARROW, PARQUET])
def test_rows_keep_their_order_over_batches_and_pieces(client: FlaskClient, rows: int, given: str) -> None:
    table = pa.concat_tables([irises()] * (rows // 150 + 1)).slice(0, rows).append_column("id", pa.array(range(rows)))
    answered = read(ask(client, WRITE[given](table), given))
    assert answered["id"].to_pylist() == list(range(rows))
    expected = read(ask(client, arrow(irises()), ARROW))["prediction"].to_numpy()
    assert (answered["prediction"].to_numpy() == np.resize(expected, rows)).all()


@pytest.mark.parametrize("given", [ARROW, PARQUET])
def test_a_truncated_file_is_rejected(client: FlaskClient, given: str) -> None:
    """Cut at a batch's end, an Arrow stream lacks only its end mark."""
    table = irises().slice(0, 9)
    body = arrow(table, rows=3) if given == ARROW else as_parquet(table, row_group_size=3)
    for end in range(len(body)):
        error_of(ask(client, body[:end], given))
    error_of(ask(client, body + b"\0" * 8, given))
    assert read(ask(client, body, given)).num_rows == 9


@pytest.mark.parametrize("given", [ARROW, PARQUET])
@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_rejected_or_answered_completely(client: FlaskClient, given: str, seed: int) -> None:
    """The answer is a complete table or a 422; a crash of the process would end the tests."""
    dice = random.Random(seed)
    table = irises(
        text=["long text " * dice.randrange(3) for _ in range(150)],
        species=pa.array(["a", "b", None] * 50).dictionary_encode(),
    )
    whole = (
        arrow(table, rows=60, compression=dice.choice([None, "lz4", "zstd"]))
        if given == ARROW
        else as_parquet(table, compression=dice.choice(["none", "zstd"]), row_group_size=60)
    )
    # Each Parquet file is a process of its own.
    for number in range(100 if given == ARROW else 25):
        body = bytearray(whole)
        for _ in range(dice.choice([1, 1, 2, 8])):
            place = dice.randrange(len(body)) if dice.random() < 0.5 else dice.randrange(min(len(body), 2000))
            if given == PARQUET and dice.random() < 0.5:
                place = len(body) - 1 - dice.randrange(min(len(body), 2000))
            match dice.randrange(4):
                case 0:
                    body[place] ^= 1 << dice.randrange(8)
                case 1:
                    body[place : place + 4] = struct.pack("<i", dice.choice([-1, 2**31 - 1, -(2**31), 0, 255]))
                case 2:
                    body[place : place + 8] = struct.pack("<q", dice.choice([-1, 2**62, -(2**63), 2**40]))
                case _:
                    del body[place : place + dice.randrange(1, 64)]
        for wanted in (given, "text/csv")[: 2 - bool(number % 5)]:
            answer = ask(client, bytes(body), given, wanted)
            if answer.status_code == 200 and wanted == given:
                read(answer).validate(full=True)
            elif answer.status_code == 200:
                assert answer.data.endswith(b"\n")
            else:
                error_of(answer)


def test_a_stream_that_unpacks_to_too_much_is_rejected(client: FlaskClient) -> None:
    table = pa.table({name: np.zeros(2_500_000) for name in NAMES})
    body = arrow(table, compression="zstd")
    assert len(body) < 100_000
    assert "unpack to more than" in error_of(ask(client, body, ARROW))
    assert read(ask(client, arrow(table[:200_000], rows=100_000, compression="zstd"), ARROW)).num_rows == 200_000


def test_too_many_batches_are_rejected(client: FlaskClient) -> None:
    one = arrow(irises().slice(0, 1))
    schema = len(arrow(irises().slice(0, 0))) - 8
    batch = one[schema:-8]
    assert read(ask(client, one[:-8] + batch * 999 + one[-8:], ARROW)).num_rows == 1000
    assert "more than 200000 batches" in error_of(ask(client, one[:-8] + batch * 200_000 + one[-8:], ARROW))


def test_a_file_that_unpacks_to_too_much_is_rejected(
    make_app: Callable[..., Flask], trained_store: Path, tmp_path: Path
) -> None:
    client = make_app(trained_store, max_file_bytes=20_000_000, spool_dir=str(tmp_path)).test_client()
    body = as_parquet(pa.table({name: np.zeros(2_500_000) for name in NAMES}), compression="zstd")
    assert len(body) < 100_000
    assert "unpacks to more than 20000000 bytes" in error_of(ask(client, body, PARQUET), 413)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_needs_too_much_memory_is_rejected(client: FlaskClient) -> None:
    table = pa.table({name: np.zeros(20_000_000) for name in NAMES})
    options = {"data_page_size": 2**30, "row_group_size": 10**8, "max_rows_per_page": 10**8, "write_batch_size": 10**8}
    body = as_parquet(table, compression="zstd", use_dictionary=False, **options)
    assert len(body) < 200_000
    assert "memory" in error_of(ask(client, body, PARQUET)) or "alloc" in error_of(ask(client, body, PARQUET))


@pytest.mark.parametrize("given", [ARROW, PARQUET])
def test_a_long_dictionary_text_is_rejected(make_app: Callable[..., Flask], trained_store: Path, given: str) -> None:
    """A long text in a dictionary is expanded in every row that has it."""
    client = make_app(trained_store, max_file_bytes=20_000_000).test_client()
    text = pa.array(["x" * 1_000_000]).dictionary_encode()
    text = pa.DictionaryArray.from_arrays(np.zeros(150_000, np.int32), text.dictionary)
    table = pa.concat_tables([irises()] * 1000).append_column("text", text)
    assert "unpacks to more than" in error_of(ask(client, WRITE[given](table), given), 413)
