"""NVIDIA's Python client for HTTP, which MLServer's users also use, against a real Gunicorn."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from model_artifact.pickling import load_artifact
from model_artifact.store import ArtifactStore

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
ROWS = np.random.default_rng(7).uniform((4, 2, 1, 0.1), (8, 4.5, 7, 2.5), (10_000, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def model(trained_store: Path) -> Any:
    store = ArtifactStore(trained_store)
    return load_artifact(store.folder(store.current()), store.current()).model


@pytest.fixture
def client(server: Any) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def _inputs(library: Any, rows: Any, datatype: str = "FP32", binary: bool = True) -> list[Any]:
    tensor = library.InferInput("input-0", list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return [tensor]


def _outputs(library: Any, binary: bool = True) -> list[Any]:
    return [library.InferRequestedOutput(name, binary_data=binary) for name in ("predict", "predict_proba")]


def test_server_and_model_are_known(client: triton.InferenceServerClient, trained_store: Path) -> None:
    version = ArtifactStore(trained_store).current()
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("iris") and client.is_model_ready("iris", version)
    assert not client.is_model_ready("wine") and not client.is_model_ready("iris", "1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.get_model_metadata("iris") == client.get_model_metadata("iris", version)
    assert client.get_model_metadata("iris")["versions"] == [version]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_ten_thousand_rows_get_the_classes_of_the_model(
    client: triton.InferenceServerClient, model: Any, binary_in: bool, binary_out: bool
) -> None:
    result = client.infer("iris", _inputs(triton, ROWS, binary=binary_in), outputs=_outputs(triton, binary_out))
    assert np.array_equal(result.as_numpy("predict")[:, 0], model.predict(ROWS))
    assert np.array_equal(result.as_numpy("predict_proba"), model.predict_proba(ROWS))
    assert result.as_numpy("predict").dtype == np.int64
    assert result.as_numpy("predict_proba").dtype == np.float32


def test_without_named_outputs_the_classes_are_binary(client: triton.InferenceServerClient, model: Any) -> None:
    result = client.infer("iris", _inputs(triton, ROWS), request_id="my id", priority=1, timeout=5_000_000)
    assert "binary_data_size" in result.get_output("predict")["parameters"]
    assert np.array_equal(result.as_numpy("predict")[:, 0], model.predict(ROWS))
    assert result.as_numpy("predict_proba") is None
    assert result.get_response()["id"] == "my id"


@pytest.mark.parametrize(("datatype", "dtype"), [("FP16", "f2"), ("FP64", "f8"), ("INT64", "i8"), ("UINT8", "u1")])
def test_other_datatypes(client: triton.InferenceServerClient, model: Any, datatype: str, dtype: str) -> None:
    rows = ROWS[:50].astype(dtype)
    result = client.infer("iris", _inputs(triton, rows, datatype), outputs=_outputs(triton))
    assert np.array_equal(result.as_numpy("predict_proba"), model.predict_proba(rows.astype(np.float32)))


def test_a_tensor_a_feature(client: triton.InferenceServerClient, model: Any, trained_store: Path) -> None:
    inputs = []
    for index, name in reversed(list(enumerate(NAMES))):
        inputs.append(triton.InferInput(name, [len(ROWS), 1], "FP32"))
        inputs[-1].set_data_from_numpy(ROWS[:, index : index + 1], binary_data=index % 2 == 0)
    result = client.infer("iris", inputs, ArtifactStore(trained_store).current())
    assert np.array_equal(result.as_numpy("predict")[:, 0], model.predict(ROWS))


def test_the_default_limits_accept_a_hundred_thousand_rows(start_server: Any, trained_store: Path, model: Any) -> None:
    rows = np.tile(ROWS, (10, 1)).astype(np.float64)
    with start_server(trained_store) as server:
        client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
        result = client.infer("iris", _inputs(triton, rows, "FP64"), outputs=_outputs(triton))
        with pytest.raises(InferenceServerException, match="more rows than the 100000"):
            client.infer("iris", _inputs(triton, np.vstack([rows, rows[:1]]), "FP64"))
        client.close()
    assert np.array_equal(result.as_numpy("predict")[:, 0], model.predict(rows))


def test_a_large_rejected_request_gets_its_answer(client: triton.InferenceServerClient, model: Any) -> None:
    """Gunicorn resets a connection with a long unread body, and the client would lose the answer."""
    for _ in range(20):
        with pytest.raises(InferenceServerException, match="There is no model 'wine' here"):
            client.infer("wine", _inputs(triton, ROWS))
        assert client.infer("iris", _inputs(triton, ROWS[:1])).as_numpy("predict").shape == (1, 1)


def test_an_error_is_raised_with_its_sentence(client: triton.InferenceServerClient) -> None:
    rows = ROWS[:5].copy()
    rows[3, 1] = np.nan
    with pytest.raises(InferenceServerException) as caught:
        client.infer("iris", _inputs(triton, rows))
    assert caught.value.message() == "row 3, sepal_width must be a finite number."
    assert caught.value.status() == "422"
    with pytest.raises(InferenceServerException, match="There is no model 'wine' here; this service serves 'iris'"):
        client.infer("wine", _inputs(triton, ROWS[:5]))
    with pytest.raises(InferenceServerException, match=r"outputs\[0\]\.name must be predict or predict_proba\."):
        client.infer("iris", _inputs(triton, ROWS[:5]), outputs=[triton.InferRequestedOutput("y")])
    with pytest.raises(InferenceServerException, match="does not unpack requests"):
        client.infer("iris", _inputs(triton, ROWS[:5]), request_compression_algorithm="gzip")


def test_an_unsupported_call_is_raised(client: triton.InferenceServerClient) -> None:
    for ask in (
        lambda: client.get_model_config("iris"),
        lambda: client.get_inference_statistics("iris"),
        client.get_model_repository_index,
        lambda: client.load_model("iris"),
    ):
        with pytest.raises(InferenceServerException, match="There is nothing at this address"):
            ask()


def test_the_asyncio_client_gets_the_same(server: Any, model: Any) -> None:
    async def ask() -> list[Any]:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
            assert await client.is_server_ready() and await client.is_model_ready("iris")
            assert (await client.get_model_metadata("iris"))["name"] == "iris"
            with pytest.raises(InferenceServerException, match="There is no model 'wine' here"):
                await client.infer("wine", _inputs(triton_aio, ROWS))
            requests = [
                client.infer("iris", _inputs(triton_aio, ROWS, binary=binary_in), outputs=_outputs(triton_aio, binary))
                for binary_in in (True, False)
                for binary in (True, False)
            ]
            # Without named outputs, as in most examples.
            return await asyncio.gather(*requests, client.infer("iris", _inputs(triton_aio, ROWS)))

    for result in asyncio.run(ask()):
        assert np.array_equal(result.as_numpy("predict")[:, 0], model.predict(ROWS))
