"""Generated Arrow streams, whole, cut off and corrupted: every answer is a table or a problem, and no worker dies."""

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

ARROW = "application/vnd.apache.arrow.stream"
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
MAX_ROWS = 6

# No shrinking: a stream that crashes the process ends the tests, and others are small.
EXAMPLES = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_numbers = st.floats(allow_subnormal=False, width=32) | st.none()
_values: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.float64(): st.floats() | st.none(),
    pa.float32(): _numbers,
    pa.int64(): st.integers(-(2**63), 2**63 - 1) | st.none(),
    pa.uint8(): st.integers(0, 255),
    pa.bool_(): st.booleans() | st.none(),
    pa.string(): st.text(max_size=9) | st.none(),
    pa.large_string(): st.text(max_size=9),
    pa.binary(): st.binary(max_size=9) | st.none(),
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from(["a", "b", None]),
    pa.list_(pa.int32()): st.lists(st.integers(0, 9), max_size=3) | st.none(),
    pa.struct([("x", pa.int32())]): st.fixed_dictionaries({"x": st.integers(0, 9)}),
    pa.null(): st.none(),
    pa.timestamp("us"): st.datetimes() | st.none(),
}


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Generate a stream with the features, mostly as numbers, and other columns."""
    kinds = list(_values)
    extra = draw(st.lists(st.text(min_size=1, max_size=8), max_size=3))
    fields = [(name, draw(st.sampled_from(kinds[:4] * 4 + kinds))) for name in NAMES]
    fields += [(name, draw(st.sampled_from(kinds))) for name in extra]
    schema = pa.schema(draw(st.permutations(fields)))
    options = pa.ipc.IpcWriteOptions(compression=draw(st.sampled_from([None, None, "lz4", "zstd"])))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        for _ in range(draw(st.integers(0, 3))):
            rows = draw(st.integers(0, MAX_ROWS))
            columns = [
                pa.array(draw(st.lists(_values[field.type], min_size=rows, max_size=rows)), field.type)
                for field in schema
            ]
            # Its dictionaries differ from batch to batch, which a stream can have.
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return sink.getvalue()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Generate a stream with bytes cut off, removed, flipped or replaced by too large numbers."""
    body = bytearray(draw(streams()))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(body) - 1)))
        numbers = st.sampled_from([-1, 0, 1, 255, 2**31 - 1, -(2**31)])
        match draw(st.integers(0, 4)):
            case 0:
                del body[place:]
            case 1:
                del body[place : place + draw(st.integers(1, 64))]
            case 2 if body:
                body[place] ^= 1 << draw(st.integers(0, 7))
            case 3:
                # Numbers of a message begin at multiples of four.
                body[place & -4 : (place & -4) + 4] = draw(numbers).to_bytes(4, "little", signed=True)
            case _:
                large = draw(st.sampled_from([2**62, -(2**63), 2**40, -1, 8]))
                body[place & -8 : (place & -8) + 8] = large.to_bytes(8, "little", signed=True)
    return bytes(body)


def check(client: FlaskClient, body: bytes, on_error: str, accept: str) -> pa.Table | None:
    """Return the table of the answer; None for a problem or CSV."""
    answer = client.post(f"/predict?on_error={on_error}", data=body, headers={"Accept": accept}, content_type=ARROW)
    if answer.status_code != 200:
        assert answer.status_code in (413, 422), answer.text
        assert answer.json["detail"] and answer.content_type == "application/problem+json"
        return None
    assert answer.content_type.split(";")[0] == accept
    if accept != ARROW:
        return None
    table = pa.ipc.open_stream(answer.data).read_all()
    table.validate(full=True)
    return table


@EXAMPLES
@given(body=streams(), on_error=st.sampled_from(["fail", "keep"]), accept=st.sampled_from([ARROW, "text/csv"]))
def test_whole_streams(client: FlaskClient, body: bytes, on_error: str, accept: str) -> None:
    answered = check(client, body, on_error, accept)
    if answered is not None:
        given = pa.ipc.open_stream(body).read_all()
        assert answered.num_rows == given.num_rows
        names = [name.strip() for name in given.column_names]
        assert answered.column_names[: len(names)] == names
        predicted = answered.column("prediction").is_valid().to_pylist()
        errors = answered.column("error").is_valid().to_pylist() if on_error == "keep" else [False] * len(predicted)
        assert all(one != other for one, other in zip(predicted, errors, strict=True))


@settings(EXAMPLES, max_examples=400)
@given(body=damaged(), on_error=st.sampled_from(["fail", "keep"]), accept=st.sampled_from([ARROW, "text/csv"]))
def test_damaged_streams(client: FlaskClient, body: bytes, on_error: str, accept: str) -> None:
    check(client, body, on_error, accept)


def test_no_worker_of_gunicorn_ends(server: Any, eventually: Callable[..., Any]) -> None:
    workers = eventually(server.workers)

    @settings(EXAMPLES, max_examples=20)
    @given(body=damaged())
    def ask(body: bytes) -> None:
        connection = server.connect()
        try:
            connection.request("POST", "/predict?on_error=keep", body, {"Content-Type": ARROW})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        assert answer.status in (200, 413, 422), raw

    ask()
    assert server.workers() == workers
