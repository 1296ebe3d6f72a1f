"""Odd, broken and hostile requests get one sentence, and leave no files."""

import http.client
import io
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_iris

from model_training.estimators.parameters import PARAMETERS
from tests.unit.training_service.running import TOKEN, Service, eventually

CSV = "width,height,colour\n" + "".join(f"{i % 7}.5,{i % 11},{'red' if i % 2 else 'blue'}\n" for i in range(60))
FIELD_ALONE = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--'
MAX_TABLE_BYTES = 1_000_000


@pytest.fixture(scope="module")
def service(make_service: Callable[..., Service]) -> Service:
    """A service that takes small tables only."""
    return make_service(max_table_bytes=MAX_TABLE_BYTES, queue_length=1).start()


@pytest.fixture(autouse=True)
def _nothing_is_left_on_the_disk(service: Service) -> Iterator[None]:
    yield
    folder = service.folder / "training" / "jobs"
    eventually(lambda: not folder.exists() or list(folder.iterdir()) == [])


def problem(answer: Any, status: int) -> str:
    """Return the sentence of a problem document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert body["detail"] == body["error"]
    assert body["detail"].endswith(".") and "Traceback" not in body["detail"]
    return str(body["detail"])


def table(content: bytes | str, name: str = "table.csv", **fields: str) -> dict[str, Any]:
    return {"files": {"file": (name, content)}, "data": fields}


def test_options_are_those_of_the_code(service: Service) -> None:
    options = service.ask("GET", "/options").json()
    assert options["tables"] == ["digits", "iris"]
    assert options["estimators"].keys() == PARAMETERS.keys()
    assert options["estimators"]["xgboost"]["max_depth"].items() >= {"kind": "integer", "default": 4}.items()
    assert options["defaults"]["gate"]["accuracy_tolerance"] == 0.01
    assert options["limits"] == {"table_bytes": MAX_TABLE_BYTES, "queue": 1, "job_seconds": 3600}


def test_a_table_is_inspected_before_a_training(service: Service) -> None:
    found = service.ask("POST", "/inspect", **table(CSV, target="colour")).json()
    assert found["rows"] == 60
    assert [column["name"] for column in found["columns"]] == ["width", "height", "colour"]
    assert found["classes"] == {"blue": 30, "red": 30}
    assert found["errors"] == []
    assert found["preview"][0] == [0.5, 0, "blue"]
    # Without a target, to choose one.
    found = service.ask("POST", "/inspect", **table(CSV)).json()
    assert found["classes"] is None and len(found["columns"]) == 3


def test_ignored_columns_are_not_inspected(service: Service) -> None:
    text = "width,note,colour\n" + "".join(
        f"{side % 7},word{side},{'red' if side % 2 else 'blue'}\n" for side in range(60)
    )
    (error,) = service.ask("POST", "/inspect", **table(text, target="colour")).json()["errors"]
    assert "note" in error
    assert service.ask("POST", "/inspect", **table(text, target="colour", ignore='["note"]')).json()["errors"] == []
    for ignore, status in (("note", 400), ("3", 422), ("[3]", 422)):
        assert "ignore" in problem(
            service.ask("POST", "/inspect", **table(text, target="colour", ignore=ignore)), status
        )


def test_parquet_is_known_by_its_content(service: Service) -> None:
    bunch = load_iris(as_frame=True)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(bunch.frame), sink)
    found = service.ask("POST", "/inspect", **table(sink.getvalue(), "iris.csv", target="target")).json()
    assert found["rows"] == 150 and found["classes"] == {"0": 50, "1": 50, "2": 50}


def test_a_built_in_table_is_inspected_by_its_name(service: Service) -> None:
    found = service.ask("POST", "/inspect", json={"data": "digits"}).json()
    assert found["rows"] == 1797 and len(found["classes"]) == 10


@pytest.mark.parametrize(
    ("content", "name", "status", "sentence"),
    [
        (b"\x00\x01\x02" * 1000, "table.csv", 415, "neither CSV nor Parquet"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "picture.png", 415, "neither CSV nor Parquet"),
        (b"PK\x03\x04" + b"x" * 100, "book.xlsx", 415, "neither CSV nor Parquet"),
        (b"\x1f\x8b\x08" + b"x" * 100, "table.csv.gz", 415, "neither CSV nor Parquet"),
        (b"PAR1" + b"x" * 1000, "broken.parquet", 422, "table.csv"),
        (b"", "empty.csv", 422, "empty.csv cannot be read: the CSV is empty"),
        ("länge,breite\n".encode("latin-1") * 3, "latin.csv", 422, "latin.csv"),
        (b"a,b\n1,2,3\n4\n", "ragged.csv", 422, "ragged.csv"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value and len(value) < 20 else "",
)
def test_garbage_is_rejected_with_a_sentence(
    service: Service, content: bytes, name: str, status: int, sentence: str
) -> None:
    said = problem(service.ask("POST", "/inspect", **table(content, name, target="b")), status)
    assert sentence.replace("table.csv", name) in said
    assert str(service.folder) not in said


@pytest.mark.parametrize(
    "name", ["../../escape.csv", "/etc/passwd", "C:\\tables\\a.csv", "..", ".incoming", "a\0b.csv", "x" * 500, " "]
)
def test_a_file_name_cannot_leave_the_folder(service: Service, name: str) -> None:
    """Received, then rejected for its configuration: the file's folder is visible without a job."""
    before = set(service.folder.parent.rglob("*"))
    assert service.ask("POST", "/train", **table(CSV, name, config='{"folds":1}')).status_code == 422
    assert set(service.folder.parent.rglob("*")) - before <= {service.folder / "training" / "jobs"}


def test_a_file_name_keeps_only_safe_characters(service: Service) -> None:
    name = service.ask("POST", "/train", **table(CSV, "../my (new) täble.v2.csv", config='{"target":"colour"}')).json()
    assert name["file_name"] == "my-new-t-ble-v2.csv"
    assert service.ask("POST", f"/jobs/{name['id']}/cancel").status_code == 200
    service.end_of(name["id"])


def test_the_tables_limit_is_exact(service: Service) -> None:
    head = b"a,b\n"
    full = head + b"1,x\n" * ((MAX_TABLE_BYTES - len(head)) // 4)
    assert service.ask("POST", "/inspect", **table(full)).status_code == 200
    over = full + b"1,x\n"
    assert "larger than 1000000 bytes" in problem(service.ask("POST", "/inspect", **table(over)), 413)
    assert "larger than" in problem(service.ask("POST", "/train", **table(full * 20)), 413)


def multipart(content: bytes) -> tuple[bytes, dict[str, str]]:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="t.csv"\r\n\r\n' + content + b"\r\n--b--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=b", "Authorization": f"Bearer {TOKEN}"}


def test_a_chunked_body_over_the_limit_is_rejected_and_not_cut(service: Service) -> None:
    body, headers = multipart(b"a,b\n" + b"1,x\n" * 400_000)
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request("POST", "/inspect", iter([body]), headers, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413, answer.read()
    connection.close()


def test_an_incomplete_upload_is_rejected(service: Service) -> None:
    before = len(service.ask("GET", "/jobs").json()["jobs"])
    body, headers = multipart(CSV.encode())
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        client.sendall(f"POST /train HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode())
        client.sendall(body[:-30])
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert b"body ended early" in answer
    assert len(service.ask("GET", "/jobs").json()["jobs"]) == before


@pytest.mark.parametrize(
    ("body", "content_type", "status", "sentence"),
    [
        (b"{", "application/json", 400, "is not JSON"),
        (b"[1]", "application/json", 422, "must be one object"),
        (b'{"data":"/etc/passwd"}', "application/json", 422, "data must be one of digits, iris"),
        (b'{"data":["iris"]}', "application/json", 422, "data must be one of digits, iris"),
        (b"{}", "application/json", 422, "data must be one of digits, iris"),
        (b'{"data":"iris","config":[]}', "application/json", 422, "config must be an object"),
        (b'{"data":"iris","force":"yes"}', "application/json", 422, "force must be true or false"),
        (b"[" * 100_000, "application/json", 400, "is not JSON"),
        (b'{"data":"' + b"x" * 300_000 + b'"}', "application/json", 413, "larger than"),
        (b"a,b\n1,2\n", "text/csv", 415, "Send JSON that names a built-in table"),
        (b"", "", 415, "Send JSON that names a built-in table"),
        (b"garbage", "multipart/form-data; boundary=b", 400, "is not multipart/form-data"),
        (b"garbage", "multipart/form-data", 400, "there is no boundary"),
        (FIELD_ALONE, "multipart/form-data; boundary=b", 422, "in the part named file"),
    ],
)
def test_an_invalid_request(service: Service, body: bytes, content_type: str, status: int, sentence: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert sentence in problem(service.ask("POST", "/train", data=body, headers=headers), status)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"estimator": "oracle"}, "oracle"),
        ({"test_size": 1.5}, "test_size must be"),
        ({"gate": {"min_accuracy": 2}}, "config cannot be used: gate.min_accuracy must be"),
        ({"parameters": {"max_depth": 0}}, "max_depth"),
        ({"parameters": {"branches": 3}}, "branches"),
        ({"parameters": {"max_depth": True}}, "arameters"),
        ({"colour": "red"}, "there is no setting colour"),
        ({"units": "/etc/passwd"}, "config.units names a file"),
        ({"folds": 1}, "folds must be"),
    ],
)
def test_an_invalid_configuration_is_rejected_before_it_is_queued(
    service: Service, config: dict[str, Any], sentence: str
) -> None:
    before = len(service.ask("GET", "/jobs").json()["jobs"])
    said = problem(service.ask("POST", "/train", json={"data": "iris", "config": config}), 422)
    assert sentence in said
    said = problem(service.ask("POST", "/train", **table(CSV, config=json.dumps(config))), 422)
    assert sentence in said
    assert len(service.ask("GET", "/jobs").json()["jobs"]) == before


def test_text_of_any_kind_reaches_the_training_as_it_was_sent(service: Service) -> None:
    """The caller chooses a column's name, which must stay one string in the job's file."""
    name = "a \"quoted\" back\\slash \U0001f33b # ] data = 'iris' [gate]"
    header = '"' + name.replace('"', '""') + '"'
    found = service.ask("POST", "/inspect", **table(CSV.replace("colour", header), target=name)).json()
    assert found["columns"][2]["name"] == name and found["classes"] == {"blue": 30, "red": 30}, found


def test_a_name_with_line_breaks_is_one_name(service: Service) -> None:
    found = service.ask("POST", "/inspect", **table(CSV, target='x"\x7f\n[gate]\nmin_accuracy = 0')).json()
    assert found["classes"] is None and "min_accuracy" in found["errors"][0]


def test_a_lone_surrogate_in_a_text_is_rejected(service: Service) -> None:
    body = b'{"data":"iris","config":{"target":"\\ud800"}}'
    answer = service.ask("POST", "/train", data=body, headers={"Content-Type": "application/json"})
    assert "is not JSON" in problem(answer, 400)


@pytest.mark.parametrize("path", ["/jobs/no-such-job", "/nowhere", "/jobs/", "/models/x/activate/"])
def test_an_unknown_address(service: Service, path: str) -> None:
    problem(service.ask("GET", path), 404)


def test_an_unsupported_method(service: Service) -> None:
    answer = service.ask("DELETE", "/jobs")
    problem(answer, 405)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "٣", "9" * 30])
def test_log_after_is_a_number(service: Service, after: str) -> None:
    assert "log_after" in problem(service.ask("GET", f"/jobs/whatever?log_after={after}"), 422)


def test_stalled_clients_do_not_hold_threads(service: Service) -> None:
    stalled = [socket.create_connection(("127.0.0.1", service.port), timeout=60) for _ in range(20)]
    try:
        for client in stalled:
            client.sendall(b"POST /train HTTP/1.1\r\nHost:")
        assert service.ask("GET", "/health", token=None).status_code == 200
        # Each connection ends within seconds, with or without an answer.
        for client in stalled:
            while client.recv(65536):
                pass
    finally:
        for client in stalled:
            client.close()
