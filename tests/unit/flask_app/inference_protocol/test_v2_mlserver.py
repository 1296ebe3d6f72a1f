"""A V2 request written for MLServer's XGBoost runtime gets the same outputs here.

mlserver_answers.json holds what MLServer 1.7.1 answered with a model of ours; record_mlserver.py made it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from model_artifact.pickling import load_artifact
from model_artifact.store import ArtifactStore

RECORDED = json.loads(Path(__file__).with_name("mlserver_answers.json").read_bytes())


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["title"])
def test_outputs_are_mlservers(client: FlaskClient, trained_store: Path, recorded: dict[str, Any]) -> None:
    ours = client.post("/v2/models/iris/infer", json=recorded["request"])
    assert ours.status_code == 200, ours.text
    theirs = recorded["answer"]
    assert ours.json["model_name"] == theirs["model_name"]
    if recorded["request"].get("id"):
        assert ours.json["id"] == theirs["id"]
    for mine, other in zip(ours.json["outputs"], theirs["outputs"], strict=True):
        assert mine.keys() == other.keys()
        assert _form(mine) == _form(other)
        if mine["name"] == "predict":
            assert mine["data"] == other["data"]
        else:
            # The recorded probabilities are those of another training; ours must be this one's.
            expected = _model(trained_store).predict_proba(_rows(recorded["request"]))
            assert mine["data"] == expected.ravel().tolist()
            assert len(mine["data"]) == len(other["data"])
            assert {type(value) for value in other["data"]} == {float}


def _form(output: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in output.items() if name != "data"}


def _model(folder: Path) -> Any:
    store = ArtifactStore(folder)
    return load_artifact(store.folder(store.current()), store.current()).model


def _rows(request: dict[str, Any]) -> Any:
    tensors = [np.array(tensor["data"]).reshape(tensor["shape"]) for tensor in request["inputs"]]
    rows = tensors[0] if len(tensors) == 1 else np.stack([tensor.ravel() for tensor in tensors], axis=1)
    return rows.astype({"FP16": np.float16}.get(request["inputs"][0]["datatype"], np.float32))
