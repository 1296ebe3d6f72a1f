"""XGBoost without a server, for comparison: `python -m benchmarks.in_process MODEL matrix|csv FILE_OR_ROWS SECONDS AT`.

Prints the rows a second of one process. AT is the time (time.time()) at which all processes begin.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from benchmarks.work import ROOT, BenchmarkError, Work

_START_SECONDS = 4.0


def rows_per_second(work: Work, kind: str, source: Path, seconds: float, processes: int) -> float:
    """Return the rows a second of so many processes together, each with the booster on one thread.

    kind `matrix`: source is a .npy file with a float32 matrix, predicted over and over; kind `csv`: source is a CSV
    file, read with pyarrow's own reader and predicted.

    Raises:
        BenchmarkError: a process failed.
    """
    command = [sys.executable, "-m", "benchmarks.in_process", str(work.model_file), kind, str(source), str(seconds)]
    command.append(str(time.time() + _START_SECONDS))
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise BenchmarkError("XGBoost in process failed (see above)")
    return sum(float(output) for output in outputs)


def seconds_a_row(booster: xgboost.Booster, row: NDArray[np.float32], repeats: int = 2000) -> float:
    """Return the seconds that one row takes in this process."""
    for _ in range(100):
        booster.inplace_predict(row, validate_features=False)
    began = time.perf_counter()
    for _ in range(repeats):
        booster.inplace_predict(row, validate_features=False)
    return (time.perf_counter() - began) / repeats


def _read_csv(path: str) -> NDArray[np.float32]:
    import pyarrow.csv

    table: Any = pyarrow.csv.read_csv(path)
    return np.column_stack([column.to_numpy() for column in table.columns]).astype(np.float32)


def main(model: str, kind: str, source: str, seconds: str, at: str) -> None:
    """Predict over and over and print the rate."""
    booster = xgboost.Booster(model_file=model)
    booster.set_param({"nthread": 1})
    matrix = np.load(source) if kind == "matrix" else _read_csv(source)
    booster.inplace_predict(matrix[:1000], validate_features=False)
    time.sleep(max(0.0, float(at) - time.time()))
    rows, began = 0, time.perf_counter()
    while time.perf_counter() - began < float(seconds):
        if kind == "csv":
            matrix = _read_csv(source)
        booster.inplace_predict(matrix, validate_features=False)
        rows += len(matrix)
    print(rows / (time.perf_counter() - began))


if __name__ == "__main__":
    main(*sys.argv[1:])
