"""The folder that a run works in: the model in every form that a server takes, bodies, logs, samples."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_artifact.pickling import MODEL_FILE
from model_artifact.store import ArtifactStore
from model_training.data.datasets import load_iris

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FEATURES = [column.name for column in load_iris().columns]
ROUNDS = 100


class BenchmarkError(Exception):
    """A measure cannot be taken; the message has the reason and the remedy."""


class Work:
    """Everything that a run needs beside the servers, made once and kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Our artifact store, and its booster in the forms of the peers: XGBoost's JSON, ONNX (by onnxmltools), an
        # MLflow model, MLServer's model repository.
        self.store = folder / "store"
        self.model_file = folder / "model.json"
        self.onnx_file = folder / "model.onnx"
        self.mlflow_folder = folder / "mlflow"
        self.mlserver_folder = folder / "mlserver"

    @cached_property
    def iris(self) -> NDArray[np.float64]:
        """The 150 rows of the data set."""
        return load_iris().X

    @cached_property
    def booster(self) -> Any:
        """The booster that every server has, on one thread."""
        store = ArtifactStore(self.store)
        # The loader gives the serving class; the booster is the training class's.
        return pickle.loads((store.folder(store.current()) / MODEL_FILE).read_bytes()).booster

    @cached_property
    def classes(self) -> list[int]:
        """XGBoost's own class of each of the 150 rows."""
        return self.predict(self.iris)

    def predict(self, rows: NDArray[Any]) -> list[int]:
        """XGBoost's own classes of rows of shape (n, 4)."""
        matrix = np.ascontiguousarray(rows, dtype=np.float32)
        return [int(label) for label in self.booster.inplace_predict(matrix).argmax(axis=1)]

    def many(self, count: int) -> NDArray[np.float64]:
        """Rows of shape (count, 4) near Fisher's, with one digit after the point as his."""
        generator = np.random.default_rng(count)
        rows = self.iris[generator.integers(0, len(self.iris), count)]
        return np.clip(np.round(rows + generator.normal(0, 0.2, rows.shape), 1), 0.1, None)

    def store_of(self, checkout: Path) -> Path:
        """The store for our server from another working tree: the same booster, in the form that its code reads."""
        if checkout == ROOT:
            return self.store
        state = training_state(checkout)[:8]
        store = self.folder / "stores" / state
        if not (store / "current").exists():
            run([*_TRAIN, "--store", str(store)], cwd=checkout)
        return store

    def body(self, name: str, content: bytes) -> Path:
        """Write a request's body into a file and return its path."""
        path = self.folder / "bodies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def log(self, name: str) -> Path:
        """Where a process writes; emptied at its start."""
        path = self.folder / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def prepare(self) -> None:
        """Train the model and convert it; what was made from the same training code is kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = training_state()
        stamp = self.folder / "state"
        if not stamp.exists() or stamp.read_text() != state:
            for made in (self.store, self.mlflow_folder, self.mlserver_folder):
                shutil.rmtree(made, ignore_errors=True)
            for made in (self.model_file, self.onnx_file):
                made.unlink(missing_ok=True)
            run([*_TRAIN, "--store", str(self.store)])
            stamp.write_text(state)
        if not self.model_file.exists():
            self._save_classifier()
        if not self.onnx_file.exists() and venv_python("tools").exists():
            run([str(venv_python("tools")), str(HERE / "onnx_model.py"), str(self.model_file), str(self.onnx_file)])
        if not self.mlserver_folder.exists():
            shutil.copytree(HERE / "peers" / "mlserver", self.mlserver_folder)
            shutil.copy(self.model_file, self.mlserver_folder)
        if not self.mlflow_folder.exists() and venv_python("mlflow").exists():
            script = HERE / "peers" / "mlflow_model.py"
            run([str(venv_python("mlflow")), str(script), str(self.model_file), str(self.mlflow_folder)])

    def _save_classifier(self) -> None:
        from xgboost import XGBClassifier

        # By way of the classifier, whose mark MLServer looks for: without it it predicts with a regressor.
        self.booster.save_model(str(self.model_file))
        classifier = XGBClassifier()
        classifier.load_model(str(self.model_file))
        classifier.save_model(str(self.model_file))


_TRAIN = [sys.executable, "-m", "model_training.train", "--n-estimators", str(ROUNDS)]


def training_state(checkout: Path = ROOT) -> str:
    """Changes when the code that makes artifacts does."""
    digest = hashlib.sha256(str(ROUNDS).encode())
    for package in ("model_artifact", "model_training"):
        for path in sorted((checkout / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def venv_python(name: str) -> Path:
    """The Python of an environment that benchmarks/setup.sh makes."""
    return HERE / ".venvs" / name / "bin" / "python"


def run(command: list[str], environ: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Run a command to its end and return its output.

    Raises:
        BenchmarkError: it failed.
    """
    env = {**os.environ, "OMP_NUM_THREADS": "1", **(environ or {})}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command[:4])} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def json_bytes(content: object) -> bytes:
    """Compact JSON."""
    return json.dumps(content, separators=(",", ":")).encode()
