"""CSV on `/predict`: the table with its predictions, or one sentence that names row and column."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from model_training.data.datasets import load_iris

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
HEAD = ",".join(NAMES)
ADDED = ["prediction", "class_name", "probability_setosa", "probability_versicolor", "probability_virginica"]
PROMPT = "5.1,3.5,1.4,0.2"


def ask(client: FlaskClient, body: str | bytes, content_type: str = "text/csv", **headers: str) -> Any:
    return client.post("/predict", data=body, content_type=content_type, headers=headers)


def table(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def error_of(answer: Any, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    assert len(answer.json["errors"]) <= 20
    return answer.json["detail"]


def test_every_row_gets_the_answer_that_it_gets_alone(client: FlaskClient) -> None:
    rows = load_iris().X.tolist()
    body = HEAD + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    answered = table(ask(client, body))
    assert list(answered[0]) == NAMES + ADDED
    for row, got in zip(rows, answered, strict=True):
        alone = client.post("/predict", json={"features": row}).json
        assert [float(got[name]) for name in NAMES] == row
        assert (int(got["prediction"]), got["class_name"]) == (alone["prediction"], alone["class_name"])
        for name, probability in alone["probabilities"].items():
            assert float(got[f"probability_{name}"]) == pytest.approx(probability, abs=1e-7)


def test_columns_in_any_order_and_others_are_passed_through_unchanged(client: FlaskClient) -> None:
    extra = ["007", 'say "hi"', "two\r\nlines", "a,b", "", " spaced ", "1.50", "NULL", "é😀", "=1+1"]
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow(["note", "petal_width", "sepal_length", "id", "petal_length", "sepal_width"])
    for number, text in enumerate(extra):
        writer.writerow([text, "0.20", "5.1", f"{number:05d}", "1.4", "3.5"])
    answered = table(ask(client, lines.getvalue()))
    assert list(answered[0])[:6] == ["note", "petal_width", "sepal_length", "id", "petal_length", "sepal_width"]
    assert [row["note"] for row in answered] == extra
    assert [row["id"] for row in answered] == [f"{number:05d}" for number in range(len(extra))]
    # The features' cells are unchanged as well.
    assert {row["petal_width"] for row in answered} == {"0.20"}
    alone = client.post("/predict", json=dict(zip(NAMES, [5.1, 3.5, 1.4, 0.2], strict=True))).json
    assert {row["class_name"] for row in answered} == {alone["class_name"]}


@pytest.mark.parametrize(
    "body",
    [
        f"\ufeff{HEAD}\n{PROMPT}\n",
        f"{HEAD}\r\n{PROMPT}\r\n",
        f"{HEAD}\n{PROMPT}",
        f"{HEAD}\n\n{PROMPT}\n\n",
        '"sepal_length","sepal_width","petal_length","petal_width"\n"5.1","3.5","1.4","0.2"\n',
        f"{HEAD}\n 5.1 ,3.5\t, 1.4,0.2\n",
        f"{HEAD}\n+5.1,35e-1,1.40,.2\n",
    ],
)
def test_usual_variants_of_csv_are_read(client: FlaskClient, body: str) -> None:
    (row,) = table(ask(client, body.encode()))
    assert row["class_name"] == "setosa"


@pytest.mark.parametrize("body", [HEAD, f"{HEAD}\n", f"{HEAD}\r\n\r\n"])
def test_a_table_without_rows_comes_back_without_rows(client: FlaskClient, body: str) -> None:
    answer = ask(client, body)
    assert (answer.status_code, answer.text) == (200, ",".join(NAMES + ADDED) + "\n")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("long", "must be a number, not 'long'"),
        ("5,1", "has 5 cells, not 4"),
        ("NaN", "must be a finite number"),
        ("-inf", "must be a finite number"),
        ("1e400", "must be a finite number"),
        ("1e39", "must be a number that fits 32-bit floating point"),
        ("0x10", "must be a number, not '0x10'"),
        ("1_000", "must be a number, not '1_000'"),
        ("true", "must be a number, not 'true'"),
        ("1" * 300_0, "must be a finite number"),
        ("x" * 1000, f"must be a number, not '{'x' * 40}'..."),
    ],
)
@pytest.mark.parametrize("before", [0, 30_000])
def test_a_bad_cell_is_named_by_row_and_column(client: FlaskClient, cell: str, message: str, before: int) -> None:
    """Row 1 is the first below the header; blank lines do not count."""
    body = f"{HEAD}\n" + f"{PROMPT}\n\n" * before + f"5.1,3.5,{cell},0.2\n{PROMPT}\n"
    where = f"row {before + 1}" + ("" if "cells" in message else ", petal_length")
    answer = ask(client, body)
    assert error_of(answer) == f"{where} {message}."
    assert answer.json["errors"] == [{"field": where, "message": message}]


def test_the_first_bad_cells_are_named_in_order(client: FlaskClient) -> None:
    answer = ask(client, f"{HEAD}\n{PROMPT}\n1,x,,3\n" + "a,b,c,d\n" * 50)
    error_of(answer)
    fields = [error["field"] for error in answer.json["errors"]]
    assert fields[:3] == ["row 2, sepal_width", "row 2, petal_length", "row 3, sepal_length"]
    assert len(fields) == 20


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"\n\n\r\n", "empty"),
        (b"sepal_length;sepal_width\n1;2\n", "petal_width is missing"),
        (f"{HEAD.replace('petal_width', 'Petal_Width')}\n{PROMPT}\n".encode(), "petal_width is missing"),
        (f"{HEAD},a,a\n{PROMPT},1,2\n".encode(), "a appears more than once"),
        (f"{HEAD},sepal_length\n{PROMPT},1\n".encode(), "sepal_length appears more than once"),
        (f"{HEAD},class_name\n{PROMPT},1\n".encode(), "class_name is a column of the answer; rename it"),
        (f"{HEAD},probability_setosa\n{PROMPT},1\n".encode(), "probability_setosa is a column of the answer"),
        (f"{HEAD}\n1,2,3\n".encode(), "row 1 has 3 cells, not 4"),
        (f"{HEAD}\n{PROMPT}\n\n1,2,3,4,5\n".encode(), "row 2 has 5 cells, not 4"),
        (f'{HEAD}\n{PROMPT}\n1,2,3,"4\n{PROMPT}\n'.encode(), "never closed"),
        (f"{HEAD},note\n{PROMPT},\xe9\n".encode("latin-1"), "not UTF-8"),
        (f"{HEAD},note\n".encode() + f"{PROMPT},e\n".encode() * 50_000 + b"1,2,3,4,\xff\n", "not UTF-8"),
        (f"{HEAD}\n{PROMPT}\n".encode("utf-16"), "not UTF-8"),
        (b"\x00" * 1000, "missing"),
        (b"PAR1" * 100, "missing"),
        (",".join(f"c{n}" for n in range(10_001)).encode(), "more than 10000 columns"),
        (",".join(f"c{n}" for n in range(1_000_000)).encode(), "header row"),
        (b"x" * 3_000_000, "header row"),
        (b'"' + b"x" * 3_000_000 + b'"', "header row"),
        (f"{HEAD},note\n{PROMPT},".encode() + b"x" * 3_000_000 + b"\n", "longer than"),
    ],
    ids=range(21),
)
def test_an_invalid_table_is_rejected(client: FlaskClient, body: bytes, words: str) -> None:
    assert words in error_of(ask(client, body))


@pytest.mark.parametrize(
    ("content_type", "headers", "status"),
    [
        ("text/csv; charset=utf-8", {}, 200),
        ("Text/CSV;charset=US-ASCII", {}, 200),
        ("text/csv; charset=latin-1", {}, 415),
        ("text/csv", {"Content-Encoding": "gzip"}, 415),
        ("text/csv", {"Content-Encoding": "identity"}, 200),
        ("text/plain", {}, 415),
        ("application/octet-stream", {}, 415),
        ("text/csv", {"Accept": "*/*"}, 200),
        ("text/csv", {"Accept": "text/*, application/json;q=0.1"}, 200),
        ("text/csv", {"Accept": "application/json"}, 406),
        ("text/csv", {"Accept": "text/csv;q=0, text/html"}, 406),
    ],
)
def test_types(client: FlaskClient, content_type: str, headers: dict[str, str], status: int) -> None:
    answer = ask(client, f"{HEAD}\n{PROMPT}\n", content_type, **headers)
    assert answer.status_code == status
    if status != 200:
        error_of(answer, status)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("excess", "status"), [(-1, 200), (0, 200), (1, 413), (300_000, 413)])
def test_a_file_has_a_limit_of_its_own(
    make_app: Callable[..., Flask], trained_store: Path, tmp_path: Path, excess: int, status: int, chunked: bool
) -> None:
    limit = 400_000
    app = make_app(trained_store, max_body_bytes=1000, max_file_bytes=limit, spool_dir=str(tmp_path))
    start = f"{HEAD},note\n{PROMPT},".encode()
    room = limit + excess - len(start)
    body = start + (b"x" * 999 + f"\n{PROMPT},".encode()) * (room // 1016) + b"x" * (room % 1016)
    assert len(body) == limit + excess
    options: dict[str, Any] = {"data": body}
    if chunked:
        options = {"input_stream": io.BytesIO(body), "environ_overrides": {"wsgi.input_terminated": True}}
    answer = app.test_client().post("/predict", content_type="text/csv", **options)
    assert answer.status_code == status
    if status == 413:
        assert str(limit) in error_of(answer, 413)
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_stops_early_is_not_answered(client: FlaskClient) -> None:
    body = f"{HEAD}\n{PROMPT}\n".encode()
    answer = client.post(
        "/predict",
        input_stream=io.BytesIO(body),
        content_type="text/csv",
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": str(len(body) + 1)},
    )
    assert error_of(answer, 400) == "The body ended early, or its chunks are not valid HTTP."


def test_a_full_disk_is_a_503(make_app: Callable[..., Flask], trained_store: Path, tmp_path: Path) -> None:
    client = make_app(trained_store, spool_dir=str(tmp_path / "missing")).test_client()
    answer = ask(client, f"{HEAD}\n{PROMPT}\n")
    assert "no room" in error_of(answer, 503)
    assert answer.headers["Retry-After"]
    assert client.post("/predict", json=dict.fromkeys(NAMES, 1)).status_code == 200


def test_half_of_the_threads_accept_files(make_app: Callable[..., Flask], trained_store: Path) -> None:
    client = make_app(trained_store, threads=4).test_client()
    body = f"{HEAD}\n{PROMPT}\n"
    # An answer that the client does not read keeps its slot.
    held = [ask(client, body) for _ in range(2)]
    answer = ask(client, body)
    assert "again in a moment" in error_of(answer, 503)
    assert answer.headers["Retry-After"]
    held[0].close()
    assert len(table(ask(client, body))) == 1
    for _ in range(5):
        error_of(ask(client, "x\n1\n"))
    assert len(table(ask(client, body))) == 1
    held[1].close()


def test_pyarrow_is_loaded_with_the_first_file(repository: Path, trained_store: Path) -> None:
    # scikit-learn and pandas, which the API's image lacks, would import it.
    program = f"""
import json, sys
from flask_app.tables.pandas_block import block_pandas
block_pandas()
sys.modules["sklearn"] = None
from flask_app.application import create_app
from flask_app.settings import ApiSettings
client = create_app(ApiSettings(model_store={str(trained_store)!r})).test_client()
loaded = []
client.get("/health"), client.get("/ready"), client.post("/predict", json={{"features": [1, 2, 3, 4]}})
client.post("/predict", json={{"instances": [{{"features": [1, 2, 3, 4]}}]}})
client.post("/predict", data="x", headers={{"Content-Type": "text/csv", "Accept": "text/html"}})
loaded.append("pyarrow" in sys.modules)
# Read to its end: Arrow's threads would abort a process that exits in the middle.
assert "setosa" in client.post("/predict", data={f"{HEAD}{chr(10)}{PROMPT}"!r}, content_type="text/csv").text
loaded.append("pyarrow" in sys.modules)
print(json.dumps(loaded))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [False, True]
