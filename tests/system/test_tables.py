"""Files on /predict, written and read by pandas and pyarrow, through Nginx and directly."""

import contextlib
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import requests
from pyarrow import parquet

from tests.system.conftest import Target

CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
HEAD = ",".join(NAMES) + "\n"
ROW = "5.1,3.5,1.4,0.2\n"

Send = Callable[..., requests.Response]


@pytest.fixture(params=["nginx", "direct"])
def base(request: pytest.FixtureRequest, target: Target) -> str:
    found = target.base_url if request.param == "nginx" else target.api_url
    if found is None:
        pytest.skip("the API's own address is not known: set API_URL")
    return found


@pytest.fixture
def send(base: str, http: requests.Session) -> Send:
    """Send a file with the header Accept."""

    def post(body: object, kind: str = CSV, accept: str = "*/*", **options: object) -> requests.Response:
        headers = {"Content-Type": kind, "Accept": accept}
        return http.post(f"{base}/predict", data=body, headers=headers, timeout=60, **options)

    return post


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """500 rows within the range of irises, with two further columns."""
    dice = np.random.default_rng(5)
    frame = pd.DataFrame(dice.uniform([4, 2, 1, 0.1], [8, 4.5, 7, 2.5], (500, 4)).round(1), columns=NAMES)
    frame.insert(0, "id", [f"{number:05d}" for number in range(500)])
    frame["note"] = ['say "hi",\nyou' if number % 3 else "" for number in range(500)]
    return frame[["note", "petal_width", "id", *NAMES[:3]]]


def as_bytes(frame: pd.DataFrame, kind: str) -> bytes:
    if kind == CSV:
        return frame.to_csv(index=False).encode()
    sink = io.BytesIO()
    if kind == PARQUET:
        frame.to_parquet(sink, index=False)
        return sink.getvalue()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def as_frame(answer: requests.Response) -> pd.DataFrame:
    assert answer.status_code == 200, answer.text
    kind = answer.headers["Content-Type"].split(";")[0]
    if kind == CSV:
        return pd.read_csv(io.BytesIO(answer.content), dtype={"id": str}, keep_default_na=False)
    if kind == PARQUET:
        return parquet.read_table(io.BytesIO(answer.content)).to_pandas()
    return pa.ipc.open_stream(answer.content).read_pandas()


@pytest.mark.parametrize("kind", [CSV, ARROW, PARQUET])
@pytest.mark.parametrize("accept", ["*/*", CSV, ARROW, PARQUET])
def test_a_frame_comes_back_with_its_predictions(
    send: Send, http: requests.Session, base: str, frame: pd.DataFrame, kind: str, accept: str
) -> None:
    answer = send(as_bytes(frame, kind), kind, accept)
    answered = as_frame(answer)
    assert answer.headers["Content-Type"].split(";")[0] == (kind if accept == "*/*" else accept)
    pd.testing.assert_frame_equal(answered[frame.columns], frame, check_dtype=False)
    rows = {"instances": frame[NAMES].to_dict(orient="records")}
    expected = http.post(f"{base}/predict", json=rows, timeout=30).json()
    assert answered["prediction"].tolist() == expected["predictions"]
    assert answered["class_name"].tolist() == expected["class_names"]
    probabilities = answered.filter(like="probability_")
    assert probabilities.columns.tolist() == [f"probability_{name}" for name in ("setosa", "versicolor", "virginica")]
    np.testing.assert_allclose(probabilities, expected["probabilities"], atol=1e-7)


def test_rows_that_cannot_be_predicted_come_back_with_the_reason(base: str, http: requests.Session) -> None:
    body = f"{HEAD}{ROW}5.1,3.5,wide,0.2\n1,2\n"
    answer = http.post(f"{base}/predict?on_error=keep", data=body, headers={"Content-Type": CSV}, timeout=60)
    answered = pd.read_csv(io.BytesIO(answer.content), keep_default_na=False)
    reasons = ["", "petal_length must be a number, not 'wide'", "has 2 cells, not 4"]
    assert answered["error"].tolist() == reasons
    assert answered["class_name"].tolist() == ["setosa", "", ""]
    assert answer.headers["X-Model-Version"] == http.get(f"{base}/model", timeout=30).json()["model_version"]


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_many_rows_in_json(http: requests.Session, base: str, rows: int) -> None:
    body = {"instances": [{"features": [5.1, 3.5, 1.4, 0.2]}] * rows}
    answer = http.post(f"{base}/predict", json=body, timeout=30).json()
    assert answer["class_names"] == ["setosa"] * rows


def test_a_client_that_sends_everything_before_it_reads_is_answered(send: Send) -> None:
    """As `requests` does; an answer that starts too early would fill both directions and deadlock."""
    rows = 30_000_000 // len(ROW)
    answer = send(HEAD.encode() + ROW.encode() * rows)
    assert answer.status_code == 200
    assert answer.content.count(b"\n") == rows + 1


def test_a_file_of_unknown_length_is_read(send: Send) -> None:
    def pieces() -> Iterator[bytes]:
        yield HEAD.encode()
        for _ in range(20):
            yield ROW.encode() * 1000
            time.sleep(0.02)

    assert send(pieces()).content.count(b"\n") == 20_001


@pytest.mark.parametrize(
    ("kind", "accept", "status"), [("text/plain", "*/*", 415), (CSV, "text/html", 406), (CSV, CSV, 422)]
)
def test_an_error_reaches_a_client_that_is_still_sending(send: Send, kind: str, accept: str, status: int) -> None:
    size = 3_000_000 if status == 415 else 30_000_000
    answer = send((HEAD + "x,").encode() + b"1,2,3\n" * (size // 6), kind, accept)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_bad_cell_in_a_late_row_is_the_whole_answer(send: Send) -> None:
    answer = send((HEAD + ROW * 300_000 + "5.1,3.5,?,0.2\n").encode())
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "row 300001, petal_length", "message": "must be a number, not '?'"}]


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_cut_upload_is_never_answered_with_a_table(base: str, target: Target, framing: str) -> None:
    parts = urlsplit(base)
    rows = (HEAD + ROW * 100).encode()
    if "chunked" in framing:
        rows = b"%x\r\n%s\r\n" % (len(rows), rows)
    stream = socket.create_connection((parts.hostname, parts.port), timeout=30)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=target.ca_cert)
        context.check_hostname = bool(target.ca_cert)
        context.verify_mode = ssl.CERT_REQUIRED if target.ca_cert else ssl.CERT_NONE
        stream = context.wrap_socket(stream, server_hostname=parts.hostname)
    with stream:
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\n{framing}\r\n\r\n"
        stream.sendall(head.encode() + rows)
        # The client has finished sending, but still reads.
        stream.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(OSError):
            while piece := stream.recv(65536):
                got += piece
    assert b"200 OK" not in got and b"setosa" not in got


def test_single_rows_are_answered_while_files_are_scored(send: Send, http: requests.Session, base: str) -> None:
    body = (HEAD + ROW * 400_000).encode()
    done: list[int] = []
    files = [threading.Thread(target=lambda: done.append(send(body).status_code)) for _ in range(2)]
    for file in files:
        file.start()
    took = []
    while any(file.is_alive() for file in files):
        began = time.monotonic()
        assert http.post(f"{base}/predict", json={"features": [5, 3, 2, 1]}, timeout=30).status_code == 200
        took.append(time.monotonic() - began)
        time.sleep(0.01)
    # Files without a free slot get a 503 with Retry-After.
    assert set(done) <= {200, 503} and 200 in done
    print(
        f"{len(took)} single rows beside two files: median {np.median(took) * 1000:.1f} ms, longest {max(took):.3f} s"
    )
    assert np.median(took) < 0.5
