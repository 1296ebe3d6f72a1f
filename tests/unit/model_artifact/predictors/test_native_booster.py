"""XGBoost through its C API: the Python package's answers, in any number of threads, and no crash for bad bytes."""

import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import xgboost

from model_artifact.errors import BoosterError
from model_artifact.predictors.native_booster import NativeBooster


def train(rows: int = 300, features: int = 5, classes: int = 3, rounds: int = 8) -> tuple[xgboost.Booster, np.ndarray]:
    chance = np.random.default_rng(1)
    X = chance.normal(size=(rows, features)).astype(np.float32)
    y = (X[:, 0] * 2 + X[:, 1]).argsort().argsort() * classes // rows
    parameters = {"objective": "multi:softprob", "num_class": classes, "nthread": 1}
    return xgboost.train(parameters, xgboost.DMatrix(X, label=y, nthread=1), num_boost_round=rounds), X


@pytest.fixture(scope="module")
def trained() -> tuple[xgboost.Booster, np.ndarray]:
    booster, rows = train()
    rows[::7, 2] = np.nan
    return booster, rows


@pytest.fixture(scope="module")
def native(trained: tuple[xgboost.Booster, np.ndarray]) -> NativeBooster:
    return NativeBooster(bytes(trained[0].save_raw("ubj")))


def test_its_bits_are_those_of_the_python_package(trained: tuple[xgboost.Booster, np.ndarray], native) -> None:
    booster, rows = trained
    assert (native.n_features, native.n_rounds) == (5, 8)
    expected = booster.inplace_predict(rows)
    assert native.predict(rows).tobytes() == expected.tobytes()
    assert [native.predict_one(row) for row in rows.tolist()] == expected.tolist()
    contributions = booster.predict(xgboost.DMatrix(rows, nthread=1), pred_contribs=True, strict_shape=True)
    assert native.contributions(rows).tobytes() == contributions.tobytes()


def test_many_rows_are_those_of_many_calls(native: NativeBooster) -> None:
    rows = np.random.default_rng(2).normal(size=(40_001, 5)).astype(np.float32)
    answers = native.predict(rows)
    assert answers.shape == (40_001, 3)
    assert np.array_equal(answers[[0, 16_383, 16_384, 40_000]], native.predict(rows[[0, 16_383, 16_384, 40_000]]))


@pytest.mark.parametrize("offset", [1, 2, 3])
def test_rows_at_any_address(trained: tuple[xgboost.Booster, np.ndarray], native: NativeBooster, offset: int) -> None:
    """The tensor of a V2 request follows JSON of any length."""
    rows = np.ascontiguousarray(trained[1])
    moved = np.frombuffer(bytes(offset) + rows.tobytes(), dtype=np.float32, offset=offset).reshape(rows.shape)
    assert not moved.flags.aligned
    assert native.predict(moved).tobytes() == native.predict(rows).tobytes()
    assert native.contributions(moved).tobytes() == native.contributions(rows).tobytes()


def test_threads_do_not_mix_their_answers(trained: tuple[xgboost.Booster, np.ndarray], native: NativeBooster) -> None:
    """XGBoost returns memory that its next call overwrites."""
    _, rows = trained
    expected = native.predict(rows)
    wrong = []

    def ask(first: int) -> None:
        for index in [*range(first, len(rows), 6)] * 5:
            if native.predict_one(rows[index].tolist()) != expected[index].tolist():
                wrong.append(index)
            if not np.array_equal(native.predict(rows[index:]), expected[index:]):
                wrong.append(index)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_it_uses_one_core(native: NativeBooster, repository: Path) -> None:
    """A loaded booster would use all cores (xgboost#8869), in every worker."""
    code = """
import os, sys, time
import numpy as np
from model_artifact.predictors.native_booster import NativeBooster
booster = NativeBooster(bytes.fromhex(sys.stdin.read()))
rows = np.zeros((16_000, 5), dtype=np.float32)
before, own = time.process_time(), time.thread_time()
while time.thread_time() < own + 0.3:
    booster.predict(rows), booster.contributions(rows[:100]), booster.predict_one(rows[0].tolist())
others = time.process_time() - before - (time.thread_time() - own)
print(round(others, 2))
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=native.save("ubj").hex(),
        cwd=repository,
        env={**environment, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert float(done.stdout) <= 0.05, done.stderr


def test_both_forms_that_it_saves_load_again(native: NativeBooster) -> None:
    rows = np.zeros((1, 5), dtype=np.float32)
    ubj = native.save("ubj")
    assert ubj.startswith(b"{L") and native.save("json").startswith(b'{"')
    assert NativeBooster(ubj).save("ubj") == ubj
    assert np.array_equal(NativeBooster(native.save("json")).predict(rows), native.predict(rows))


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ([1, 2, 3, 4], struct.error),
        ([1, 2, 3, 4, 5, 6], struct.error),
        ([1, 2, 3, 4, "5"], struct.error),
        ([1, 2, 3, 4, 3.5e38], OverflowError),
        ([1, 2, 3, 4, 10**400], struct.error),
    ],
)
def test_invalid_rows_are_rejected(native: NativeBooster, values: list[float], error: type[Exception]) -> None:
    with pytest.raises(error):
        native.predict_one(values)


def test_bad_bytes_are_rejected_and_do_not_end_the_process(native: NativeBooster, repository: Path) -> None:
    """A crash would end the process, so the test runs in another one."""
    code = """
import sys
from model_artifact.errors import BoosterError
from model_artifact.predictors.native_booster import NativeBooster
raw = bytes.fromhex(sys.stdin.read())
bad = [b"", b"{", b"{}", b"{L garbage", b"\\0" * 64, b'{"learner": 1}', raw[:100], raw[:-1], raw[: len(raw) // 2]]
for piece in bad:
    try:
        NativeBooster(piece)
    except BoosterError as error:
        assert str(error) and "\\n" not in str(error)
        print("rejected")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=native.save("ubj").hex(),
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.count("rejected")) == (0, 9), done.stderr
    with pytest.raises(BoosterError):
        NativeBooster(b"{")


def test_opening_an_artifact_imports_neither_xgboost_nor_scipy_nor_cryptography(
    repository: Path, trained_store: Path
) -> None:
    """Each costs every worker memory and time: XGBoost's package a second and 100 MB."""
    code = f"""
import sys
from flask_app.application import create_app
from flask_app.settings import ApiSettings
client = create_app(ApiSettings(model_store={str(trained_store)!r})).test_client()
row = {{"features": [5.1, 3.5, 1.4, 0.2]}}
assert client.post("/predict", json=row).status_code == 200
assert client.post("/explain", json=row).status_code == 200
print(sorted({{"xgboost", "scipy", "sklearn", "pandas", "pyarrow", "cryptography"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=repository, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_without_the_library_the_error_names_the_package(repository: Path) -> None:
    code = """
import importlib.util
importlib.util.find_spec = lambda name: None
from model_artifact.predictors.native_booster import NativeBooster
try:
    NativeBooster(b"{}")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=60)
    assert "install requirements/api.txt" in done.stdout, done.stderr
