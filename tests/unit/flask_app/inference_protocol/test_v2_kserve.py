"""KServe's Python client against a real Gunicorn.

It needs other versions of pandas and protobuf than ours, so it lives in an environment of its own:

    sh local_stack/setup.sh kserve
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_artifact.pickling import load_artifact
from model_artifact.store import ArtifactStore

ROWS = np.random.default_rng(7).uniform((4, 2, 1, 0.1), (8, 4.5, 7, 2.5), (1000, 4)).astype(np.float32)


def test_kserves_client_gets_the_models_predictions(server: Any, trained_store: Path, repository: Path) -> None:
    python = repository / ".venv-kserve/bin/python"
    if not python.exists():
        pytest.skip("KServe's client is missing: sh local_stack/setup.sh kserve")
    script = Path(__file__).with_name("kserve_client.py")
    done = subprocess.run(
        [python, script, f"http://127.0.0.1:{server.port}"],
        input=json.dumps(ROWS.tolist()),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    store = ArtifactStore(trained_store)
    model = load_artifact(store.folder(store.current()), store.current()).model
    infer = {
        "id": "7",
        "predict": model.predict(ROWS).reshape(-1, 1).tolist(),
        "predict_proba": model.predict_proba(ROWS).tolist(),
    }
    assert found == {
        "live": True,
        "ready": True,
        "model ready": True,
        "other model ready": False,
        **{f"binary in {given}, out {taken}": infer for given in (True, False) for taken in (True, False)},
        "error": [422, "inputs cannot be used: expected `array` of length >= 1."],
    }
