"""The model is switched under load: no request fails, and each response comes from the version that it contains.

SWAPS and SWAP_SECONDS make it longer: SWAPS=20 SWAP_SECONDS=60 pytest -s tests/local_stack/test_swap.py
"""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from model_artifact.pickling import MODEL_FILE, load_artifact
from model_artifact.store import ArtifactStore
from model_training.data.datasets import load_iris
from model_training.model import IrisModel
from model_training.training import train_version
from tests.stacks import ROOT, ProcessStack

SWAPS = int(os.environ.get("SWAPS", "6"))
SECONDS = float(os.environ.get("SWAP_SECONDS", "15"))
CONNECTIONS = 8
WORKERS = 2
MAX_SWITCH_SECONDS = 5.0
# Different enough that no two versions give one row the same probabilities.
HYPERPARAMETERS = ({"n_estimators": 20, "max_depth": 2}, {"n_estimators": 60, "max_depth": 4, "learning_rate": 0.3})
ROWS = load_iris().X[::7]


@dataclass
class Load:
    """Eight clients over persistent connections until `stop` is set; each verifies every response."""

    stack: ProcessStack
    expected: dict[str, np.ndarray]
    stop: threading.Event = field(default_factory=threading.Event)
    answers: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)

    def run(self, first: int) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = self.stack.ca_cert
            number = first
            while not self.stop.is_set():
                number += 1
                # Some requests have many rows; one version must answer all of them.
                row = None if number % 10 == 0 else number % len(ROWS)
                body = (
                    {"instances": [{"features": values} for values in ROWS.tolist()]}
                    if row is None
                    else {"features": ROWS[row].tolist()}
                )
                try:
                    answer = session.post(f"{self.stack.base_url}/predict", json=body, timeout=30)
                except requests.RequestException as error:
                    self.failed.append(repr(error))
                    continue
                if answer.status_code != 200:
                    self.failed.append(f"{answer.status_code} {answer.text}")
                elif not self.is_right(answer.json(), row):
                    self.mixed.append(answer.text)
                else:
                    self.answers[answer.json()["model_version"]] += 1

    def is_right(self, answer: dict[str, Any], row: int | None) -> bool:
        """Return whether probabilities and classes are those of the version in the response."""
        expected = self.expected[answer["model_version"]]
        if row is None:
            given, classes = answer["probabilities"], answer["predictions"]
        else:
            expected = expected[[row]]
            given, classes = [list(answer["probabilities"].values())], [answer["prediction"]]
        return np.array_equal(np.array(given, np.float32), expected) and classes == expected.argmax(axis=1).tolist()


@dataclass
class Log:
    """The API's log file; each read continues where the previous one ended."""

    path: Path
    position: int = 0

    def wait_for(self, message: str, version: str, workers: int = WORKERS) -> list[float]:
        """Wait until that many workers have logged the message for the version; return when, in Unix time."""
        deadline = time.monotonic() + 4 * MAX_SWITCH_SECONDS
        found: dict[int, float] = {}
        while len(found) < workers:
            assert time.monotonic() < deadline, f"only workers {list(found)} logged {message!r} for {version}"
            for line in self.fresh():
                if line["message"] == message and version in (line.get("model_version"), line.get("still_serving")):
                    found[line["process"]] = datetime.fromisoformat(line["time"]).timestamp()
            time.sleep(0.02)
        return list(found.values())

    def fresh(self) -> list[dict[str, Any]]:
        with self.path.open() as file:
            file.seek(self.position)
            # The last line may be incomplete.
            text = file.read().rpartition("\n")
        self.position += len("".join(text[:2]).encode())
        return [json.loads(line) for line in text[0].splitlines()]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    """Two versions that predict differently; the second is current."""
    store = ArtifactStore(tmp_path_factory.mktemp("swap") / "artifacts")
    for values in HYPERPARAMETERS:
        train_version(load_iris(), lambda values=values: IrisModel(**values), store, test_size=0.2, seed=42)
    return store


def store_command(store: ArtifactStore, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "model_training.store", *arguments, "--store", str(store.root)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


@pytest.mark.timeout(300 + SECONDS)
def test_switches_under_load_fail_nothing_and_mix_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    # Names have a resolution of one second, and both may have been trained within the same one.
    versions = sorted(store.versions(), key=lambda name: name == store.current())
    expected = {name: load_artifact(store.folder(name), name).model.predict_proba(ROWS) for name in versions}
    assert (expected[versions[0]] != expected[versions[1]]).any(axis=1).all()
    slowest = 0.0
    with ProcessStack(tmp_path, MODEL_STORE=str(store.root), WEB_CONCURRENCY=str(WORKERS)) as stack:
        log = Log(stack.log_folder / "flask-api.log")
        log.wait_for("model loaded", versions[1])
        load = Load(stack, expected)
        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            clients = [pool.submit(load.run, number * 1000) for number in range(CONNECTIONS)]
            try:
                began = time.time()
                for number in range(SWAPS):
                    time.sleep(max(0.0, began + number * SECONDS / SWAPS - time.time()))
                    # Every third switch is a roll-back by command.
                    switched, wanted = time.time(), versions[number % 2]
                    if number % 3 == 2:
                        store_command(store, "rollback")
                        switched = (store.root / "current").stat().st_mtime
                    else:
                        store.activate(wanted)
                    assert store.current() == wanted
                    slowest = max(slowest, *(at - switched for at in log.wait_for("model loaded", wanted)))
                time.sleep(max(0.0, began + SECONDS - time.time()))

                bad = "20991231-235959-00000000"
                shutil.copytree(store.folder(versions[0]), store.folder(bad))
                (store.folder(bad) / MODEL_FILE).write_bytes(b"!")
                serving = store.current()
                before = load.answers.copy()
                store.activate(bad)
                log.wait_for("model rejected", serving)
                time.sleep(0.5)
                store.activate(serving)
                log.wait_for("model loaded", serving)
            finally:
                load.stop.set()
            for client in clients:
                client.result()
    print(
        f"\n{SWAPS} switches in {SECONDS:g} s: {load.answers.total()} requests answered, {len(load.failed)} failed,"
        f" {len(load.mixed)} mixed; all workers served the new version after {slowest:.2f} s at most"
    )
    assert load.failed == []
    assert load.mixed == []
    assert set(load.answers) == set(versions)
    assert (load.answers - before).keys() == {serving}
    assert slowest < MAX_SWITCH_SECONDS
