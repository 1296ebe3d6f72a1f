"""`?on_error=keep`: every row of a file comes back, with the reason where it could not be predicted."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from flask import Flask
from flask.testing import FlaskClient
from pyarrow import parquet

from table_io import csv_table

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
HEAD = ",".join(NAMES)
GOOD = "5.1,3.5,1.4,0.2"
ADDED = ["prediction", "class_name", "probability_setosa", "probability_versicolor", "probability_virginica", "error"]
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"


def ask(client: FlaskClient, body: str | bytes, kind: str = CSV, accept: str = "*/*", query: str = "keep") -> Any:
    return client.post(f"/predict?on_error={query}", data=body, content_type=kind, headers={"Accept": accept})


def rows(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    if answer.content_type == ARROW:
        return pa.ipc.open_stream(answer.data).read_all().to_pylist()
    if answer.content_type == PARQUET:
        return parquet.read_table(io.BytesIO(answer.data)).to_pylist()
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def encoded(table: pa.Table, kind: str) -> bytes:
    sink = io.BytesIO()
    if kind == PARQUET:
        parquet.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return sink.getvalue()


def detail(answer: Any) -> str:
    assert answer.status_code == 422, answer.text
    return answer.json["detail"]


def test_every_row_of_csv_comes_back_in_order(client: FlaskClient) -> None:
    cells = ["1.4", "x", "", "NA", "nan", "1e400", "1e39", " 1.4\u00a0", "0x10"]
    body = f"id,{HEAD}\n" + "".join(f"{number:03},5.1,3.5,{cell},0.2\n" for number, cell in enumerate(cells))
    answered = rows(ask(client, body))
    assert list(answered[0]) == ["id", *NAMES, *ADDED]
    assert [row["id"] for row in answered] == [f"{number:03}" for number in range(len(cells))]
    assert [row["petal_length"] for row in answered] == cells
    assert [row["error"] for row in answered] == [
        "",
        "petal_length must be a number, not 'x'",
        "petal_length is empty",
        "petal_length must be a number, not 'NA'",
        "petal_length must be a finite number",
        "petal_length must be a finite number",
        "petal_length must be a number that fits 32-bit floating point",
        "",
        "petal_length must be a number, not '0x10'",
    ]
    alone = rows(ask(client, f"{HEAD}\n{GOOD}\n", query="fail"))[0]
    for row in answered:
        expected = [""] * 5 if row["error"] else [alone[name] for name in ADDED[:-1]]
        assert [row[name] for name in ADDED[:-1]] == expected


@pytest.mark.parametrize("wanted", [CSV, ARROW, PARQUET])
@pytest.mark.parametrize("given", [ARROW, PARQUET])
def test_columns_of_numbers(client: FlaskClient, given: str, wanted: str) -> None:
    lengths = [1.4, None, float("nan"), float("inf"), 1.4]
    table = pa.table({name: [5.1, 3.5, 1.4, 0.2, 1.0] for name in NAMES}).set_column(2, "petal_length", [lengths])
    answered = rows(ask(client, encoded(table, given), given, wanted))
    finite = "petal_length must be a finite number"
    none = "" if wanted == CSV else None
    assert [row["error"] for row in answered] == [none, "petal_length is empty", finite, finite, none]
    assert [row["class_name"] is not none and row["class_name"] != "" for row in answered] == [True, *[False] * 3, True]
    assert [row["probability_setosa"] == none for row in answered] == [False, *[True] * 3, False]
    good = table.take(pa.array([0, 4]))
    alone = rows(ask(client, encoded(good, given), given, wanted, "fail"))
    assert [{name: row[name] for name in ADDED[:-1]} for row in (answered[0], answered[-1])] == [
        {name: row[name] for name in ADDED[:-1]} for row in alone
    ]


@pytest.mark.parametrize("wanted", [ARROW, PARQUET])
def test_csv_comes_back_as_numbers_with_null_where_there_is_none(client: FlaskClient, wanted: str) -> None:
    answered = rows(ask(client, f"{HEAD},note\n{GOOD},007\n5.1,long,,0.2,008\n", CSV, wanted))
    assert [answered[1][name] for name in [*NAMES, "note"]] == [5.1, None, None, 0.2, "008"]
    assert answered[0]["error"] is None
    assert answered[1]["error"] == "sepal_width must be a number, not 'long'; petal_length is empty"
    assert (answered[1]["prediction"], answered[1]["class_name"]) == (None, None)


def test_rows_with_too_few_or_too_many_cells_stay_in_their_place(client: FlaskClient) -> None:
    body = f'{HEAD},note\n1,2\n{GOOD},a\n\n{GOOD},b,"c\n,d",e\n{GOOD},f\n{GOOD}\n'
    answered = rows(ask(client, body))
    assert [row["note"] for row in answered] == ["", "a", "b", "f", ""]
    assert [row["error"] for row in answered] == [
        "has 2 cells, not 5",
        "",
        "has 7 cells, not 5",
        "",
        "has 4 cells, not 5",
    ]
    assert [row["class_name"] for row in answered] == ["", "setosa", "", "setosa", ""]
    assert detail(ask(client, body, query="fail")) == "row 1 has 2 cells, not 5."


def test_rows_keep_their_order_over_blocks_and_chunks(client: FlaskClient) -> None:
    bad = {7: "x", 8191: "", 8192: "1", 20_000: "?", 59_999: "1,2"}
    body = f"{HEAD},id\n" + "".join(f"5.1,3.5,{bad.get(n, '1.4')},0.2,{n}\n" for n in range(60_000))
    answered = rows(ask(client, body))
    # The last row has one cell more, and is cut behind its fifth cell.
    assert [int(row["id"]) for row in answered[:-1]] == list(range(59_999))
    assert [number for number, row in enumerate(answered) if row["error"]] == [7, 8191, 20_000, 59_999]
    assert all(bool(row["class_name"]) != bool(row["error"]) for row in answered)


@pytest.mark.parametrize("body", [f"{HEAD}\na,b,c,d\n" + ",,,\n" * 9000, f"{HEAD}\n" + "1\n" * 50])
def test_a_file_without_a_good_row_comes_back(client: FlaskClient, body: str) -> None:
    answered = rows(ask(client, body))
    assert len(answered) == body.count("\n") - 1
    assert all(row["error"] and not row["prediction"] for row in answered)


def test_a_row_of_many_faults_names_the_first(make_app: Callable[..., Flask], trained_store: Path) -> None:
    from flask_app.tables import columns

    client = make_app(trained_store).test_client()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "MAX_ROW_FAULTS", 2)
        (row,) = rows(ask(client, f"{HEAD}\n,,,\n"))
    assert row["error"] == "sepal_length is empty; sepal_width is empty; and 2 more"


def test_too_many_ragged_rows_one_after_another_are_an_error(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_table, "MAX_RAGGED_ROWS", 10)
    assert "More than 10 rows one after another" in detail(ask(client, f"{HEAD}\n" + "1\n" * 11))
    assert len(rows(ask(client, f"{HEAD}\n" + ("1\n" * 9 + f"{GOOD}\n" * 70_000) * 2))) == 140_018


def test_faults_of_the_whole_file_are_still_errors(client: FlaskClient) -> None:
    assert "never closed" in detail(ask(client, f'{HEAD}\n{GOOD}\n"1,2,3,4\n'))
    assert "petal_width is missing" in detail(ask(client, "sepal_length\n1\n"))
    assert "not UTF-8" in detail(ask(client, f"{HEAD}\n1,2,".encode() + b"\xff\n"))
    text = pa.table({name: ["1"] for name in NAMES})
    assert "must be a column of numbers" in detail(ask(client, encoded(text, ARROW), ARROW))


def test_a_column_called_error_clashes_only_where_errors_are_kept(client: FlaskClient) -> None:
    body = f"{HEAD},error\n{GOOD},old\n"
    assert detail(ask(client, body)) == "error is a column of the answer; rename it in the file."
    assert rows(ask(client, body, query="fail"))[0]["error"] == "old"


@pytest.mark.parametrize("query", ["", "drop", "KEEP", "keep&on_error=keep"])
def test_another_value_is_one_sentence(client: FlaskClient, query: str) -> None:
    for answer in (
        ask(client, f"{HEAD}\n{GOOD}\n", query=query),
        client.post(f"/predict?on_error={query}", json={"features": [1, 2, 3, 4]}),
    ):
        assert detail(answer) == "on_error must be fail or keep, once."


def test_json_has_no_errors_to_keep(client: FlaskClient) -> None:
    answer = client.post("/predict?on_error=keep", json={"instances": [{"features": [1, 2, 3, 4]}]})
    assert detail(answer) == "on_error is for files only; send JSON without it."
    assert client.post("/predict?on_error=fail", json={"features": [1, 2, 3, 4]}).status_code == 200


@pytest.mark.parametrize("wanted", [CSV, ARROW, PARQUET])
def test_answers_name_the_version_of_the_model(client: FlaskClient, wanted: str) -> None:
    answer = ask(client, f"{HEAD}\n{GOOD}\n", CSV, wanted, "fail")
    assert answer.headers["X-Model-Version"] == client.get("/model").json["model_version"]
    assert "X-Model-Version" not in ask(client, "a\n1\n").headers


def test_rows_that_were_not_predicted_are_not_counted(client: FlaskClient) -> None:
    def counted() -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("flask_api_rows_predicted_total{"))

    before = counted()
    assert len(rows(ask(client, f"{HEAD}\n{GOOD}\nx,1,2,3\n{GOOD}\n"))) == 3
    assert counted() - before == 2
