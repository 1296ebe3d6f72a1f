"""The loader rejects each kind of faulty artifact with its own sentence."""

import copyreg
import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_artifact.errors import ArtifactError
from model_artifact.pickling import CARD_FILE, MODEL_FILE, load_artifact
from model_artifact.predictors import decision_table
from model_artifact.predictors.decision_table import DecisionTable
from model_artifact.predictors.trees import BoostedTrees
from model_training.data.datasets import load_iris
from model_training.model import IrisModel


@pytest.fixture
def folder(store, version: str) -> Path:
    return store.folder(version)


def _card(folder: Path) -> dict[str, Any]:
    return json.loads((folder / CARD_FILE).read_bytes())


def _edit_card(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    card = _card(folder)
    edit(card)
    (folder / CARD_FILE).write_text(json.dumps(card))


def _replace_pickle(folder: Path, pickled: bytes) -> None:
    """Replace the pickle and its digest, as an attacker with write access to both files would."""
    (folder / MODEL_FILE).write_bytes(pickled)
    digest = hashlib.sha256(pickled).hexdigest()
    _edit_card(folder, lambda card: card["artifact"].update(sha256=digest, bytes=len(pickled)))


def _state(folder: Path) -> dict[str, Any]:
    return pickle.loads((folder / MODEL_FILE).read_bytes()).__getstate__()


def _global(module: str, name: str, then: bytes = b")R.") -> bytes:
    """Return a pickle that loads a name by STACK_GLOBAL, which accepts dotted names, and then runs more opcodes."""
    text = b"".join(b"X" + struct.pack("<I", len(part)) + part.encode() for part in (module, name))
    return b"\x80\x04" + text + b"\x93" + then


# Opcodes that make an instance of the class, without calling its constructor.
_NEW = b")\x81"


def _with_state(state: object) -> bytes:
    """Return a pickle of an IrisModel with any state."""
    # Protocol 3 has no frames, so its output can be part of another pickle.
    return _made("model_training.model", "IrisModel", state)


def _made(module: str, name: str, state: object) -> bytes:
    """Return a pickle of an instance of any class with any state."""
    return _global(module, name, _NEW + pickle.dumps(state, protocol=3)[2:-1] + b"b.")


def _rejection(folder: Path, version: str | None = None) -> str:
    """Return the sentence, which must suit /ready: complete, short, without a trace or a path of this machine."""
    with pytest.raises(ArtifactError) as rejection:
        load_artifact(folder, version or folder.name)
    sentence = str(rejection.value)
    assert sentence.endswith("."), sentence
    assert len(sentence) < 400, sentence
    for leak in ("\n", "Traceback", str(folder.parent), ".py"):
        assert leak not in sentence, sentence
    return sentence


def test_a_good_artifact_is_the_trained_model(folder: Path, version: str) -> None:
    artifact = load_artifact(folder, version)
    assert type(artifact.model) is BoostedTrees
    assert artifact.card.model_version == version
    golden = _card(folder)["golden_rows"]
    assert artifact.model.predict_proba([row["features"] for row in golden]).tolist() == [
        row["probabilities"] for row in golden
    ]
    assert [max(range(3), key=row["probabilities"].__getitem__) for row in golden] == [0, 1, 2]


# Damage


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_pickle_is_rejected(folder: Path, kept: int) -> None:
    whole = (folder / MODEL_FILE).read_bytes()
    (folder / MODEL_FILE).write_bytes(whole[:kept])
    assert f"has {len(whole[:kept])} bytes, but its card records {len(whole)}" in _rejection(folder)


def test_a_pickle_with_bytes_appended_is_rejected(folder: Path) -> None:
    with (folder / MODEL_FILE).open("ab") as file:
        file.write(b"!")
    assert "bytes, but its card records" in _rejection(folder)


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999, 1])
def test_one_flipped_bit_anywhere_in_the_pickle_is_rejected(folder: Path, share: float) -> None:
    pickled = bytearray((folder / MODEL_FILE).read_bytes())
    pickled[int((len(pickled) - 1) * share)] ^= 1
    (folder / MODEL_FILE).write_bytes(pickled)
    assert "does not have the SHA-256 of its card" in _rejection(folder)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [(CARD_FILE, "model_card.json cannot be read: No such file"), (MODEL_FILE, "iris_model.pkl cannot be read: No")],
)
def test_a_missing_file_is_named(folder: Path, name: str, sentence: str) -> None:
    (folder / name).unlink()
    assert sentence in _rejection(folder)


@pytest.mark.parametrize("name", [CARD_FILE, MODEL_FILE])
def test_a_folder_in_place_of_a_file_is_rejected(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    assert f"{name} cannot be read: Is a directory" in _rejection(folder)


# Pickles of other objects


class _Command:
    """An attacker's object: opening its pickle makes a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_a_pickle_that_would_run_a_command_does_not_run_it(folder: Path, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    pickled = pickle.dumps(_Command(os.system, f"touch {harm}"))
    pickle.loads(pickled)
    assert harm.exists(), "the pickle of this test does no harm, so it shows nothing"
    harm.unlink()
    _replace_pickle(folder, pickled)
    assert "loads posix.system" in _rejection(folder)
    assert not harm.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "function", [eval, exec, getattr, __import__, os.system, pickle.loads, copyreg.pickle], ids=lambda f: f.__name__
)
def test_no_function_is_admitted_in_any_protocol(folder: Path, protocol: int, function: Any) -> None:
    """Protocols before 4 load names by other opcodes."""
    _replace_pickle(folder, pickle.dumps(_Command(function, "1"), protocol))
    assert "loads" in _rejection(folder)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("model_artifact.pickling", "pickle"),
        ("model_artifact.pickling", "pickle.loads"),
        ("model_artifact.pickling", "load_artifact"),
        ("model_training.model", "np"),
        ("model_training.model", "xgboost.Booster"),
        ("model_training.model", "IrisModel.train"),
        ("model_training.model", "IrisModel.__init__.__globals__"),
        ("model_training.model", "IrisModel.__subclasses__"),
        ("model_training", "model.IrisModel"),
        ("__main__", "IrisModel"),
        ("xgboost.core", "Booster"),
        ("builtins", "object"),
        ("", ""),
    ],
)
def test_only_the_one_class_is_admitted_by_its_exact_name(folder: Path, module: str, name: str) -> None:
    """A dotted name reaches every attribute of what an admitted module imports."""
    _replace_pickle(folder, _global(module, name))
    assert f"loads {module}.{name}, which no artifact holds" in _rejection(folder)


def test_the_old_inst_opcode_is_rejected(folder: Path) -> None:
    _replace_pickle(folder, b"(S'exit 1'\nios\nsystem\n.")
    assert "loads os.system" in _rejection(folder)


def test_a_long_or_broken_name_does_not_flood_the_log(folder: Path) -> None:
    """The sentence is a log line and the body of /ready, and an attacker may choose the name."""
    _replace_pickle(folder, _global("os", "x\n" * 50_000))
    _rejection(folder)


@pytest.mark.parametrize(
    ("pickled", "sentence"),
    [
        pytest.param(pickle.dumps({"a": 1}), "holds a dict, not a model", id="dict"),
        pytest.param(pickle.dumps(None), "holds a NoneType, not a model", id="None"),
        pytest.param(_global("model_training.model", "IrisModel", b"."), ", not a model", id="the class itself"),
        pytest.param(pickle.dumps([IrisModel]), "holds a list", id="the class in a list"),
        pytest.param(b"", "cannot be opened (EOFError)", id="empty"),
        pytest.param(b"\x00" * 64, "cannot be opened (UnpicklingError)", id="no pickle"),
        pytest.param(b"PK\x03\x04 a zip", "cannot be opened", id="zip"),
        pytest.param(b"\x80\x04\x82\x01.", "cannot be opened", id="extension code"),
        pytest.param(b"\x80\x04\x8c\x01aQ.", "cannot be opened", id="persistent id"),
        pytest.param(b"\x80\x05\x97.", "cannot be opened", id="out-of-band buffer"),
        pytest.param(b"\x80\xff.", "cannot be opened", id="protocol 255"),
        pytest.param(b"(" * 1000 + b".", "cannot be opened", id="marks"),
        pytest.param(_with_state({}), "cannot be opened (ValueError)", id="empty state"),
        pytest.param(_with_state([1]), "cannot be opened (ValueError)", id="list state"),
        pytest.param(_global("model_training.model", "IrisModel"), "was never trained", id="constructor called"),
        pytest.param(
            _global("model_training.model", "IrisModel", _NEW + b"."), "was never trained", id="constructor not called"
        ),
    ],
)
def test_other_objects_than_trained_models_are_rejected(folder: Path, pickled: bytes, sentence: str) -> None:
    _replace_pickle(folder, pickled)
    assert sentence in _rejection(folder)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"predict_proba": 1}, id="foreign key"),
        pytest.param({"booster": "text"}, id="booster is text"),
        pytest.param({"booster": b"{L garbage"}, id="booster is garbage"),
        pytest.param({"n_classes": "three"}, id="classes is text"),
        pytest.param({"n_classes": True}, id="classes is true"),
        pytest.param({"n_classes": 1}, id="one class"),
        pytest.param({"n_classes": 6}, id="more classes than the trees have"),
        pytest.param({"max_depth": None}, id="depth is none"),
        pytest.param({"learning_rate": float("nan")}, id="rate is not a number"),
        pytest.param({"subsample": [0.8]}, id="share is a list"),
    ],
)
def test_a_model_with_a_state_of_another_kind_is_rejected(folder: Path, change: dict[str, Any]) -> None:
    _replace_pickle(folder, _with_state(_state(folder) | change))
    # That state is possible, but not that of the card.
    reason = "has 4 features and 6 classes" if change == {"n_classes": 6} else "cannot be opened ("
    assert reason in _rejection(folder)


def test_a_model_with_an_empty_booster_does_not_end_the_process(folder: Path, repository: Path) -> None:
    """XGBoost 3.2.0 would end the process, so the test runs in another one."""
    _replace_pickle(folder, _with_state(_state(folder) | {"booster": b""}))
    code = f"""
from pathlib import Path
from model_artifact.errors import ArtifactError
from model_artifact.pickling import load_artifact
try:
    load_artifact(Path({str(folder)!r}))
except ArtifactError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.count("iris_model.pkl")) == (0, 1), done.stderr


def test_a_model_that_lacks_a_field_is_rejected(folder: Path) -> None:
    state = _state(folder)
    del state["max_depth"]
    _replace_pickle(folder, _with_state(state))
    assert "cannot be opened (ValueError)" in _rejection(folder)


# Cards


def _third_feature(card: dict[str, Any]) -> None:
    card["features"].append(card["features"][0] | {"name": "third"})


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda card: card.update(model_version="v2"), "is the card of version v2, but is in the folder of"),
        (lambda card: card.update(card_format=2), "format 2, and this program reads format 1"),
        (lambda card: card.pop("metrics"), "missing required field `metrics`"),
        (lambda card: card.update(extra=1), "unknown field `extra`"),
        (lambda card: card["features"].pop(), "has 4 features and 3 classes, but its card records 3 and 3"),
        (_third_feature, "has 4 features and 3 classes, but its card records 5 and 3"),
        (lambda card: card["classes"].append("rosa"), "has 4 features and 3 classes, but its card records 4 and 4"),
        (lambda card: card["golden_rows"][0]["features"].pop(), "golden rows of another shape"),
        (lambda card: card["golden_rows"][0]["probabilities"].pop(), "golden rows of another shape"),
        (lambda card: card["golden_rows"][0]["features"].__setitem__(2, None), "Expected `float`, got `null`"),
        (lambda card: card["golden_rows"][0]["features"].__setitem__(2, float("nan")), "JSON is malformed"),
        (lambda card: card["golden_rows"][0]["probabilities"].__setitem__(2, float("nan")), "JSON is malformed"),
    ],
)
def test_a_card_that_does_not_fit_is_rejected(folder: Path, edit: Callable[..., Any], sentence: str) -> None:
    _edit_card(folder, edit)
    assert sentence in _rejection(folder)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe\x00{", b'{"card_format": 1, "model_name": "\xe9"}', b"[1]"])
def test_a_card_that_is_not_json_is_rejected(folder: Path, raw: bytes) -> None:
    (folder / CARD_FILE).write_bytes(raw)
    assert _rejection(folder).startswith("model_card.json cannot be used: ")


def test_a_deeply_nested_card_is_rejected(folder: Path) -> None:
    (folder / CARD_FILE).write_bytes(b'{"x":' + b"[" * 100_000)
    _rejection(folder)


@pytest.mark.parametrize(("off", "accepted"), [(0.5e-6, True), (-0.5e-6, True), (2e-6, False), (-2e-6, False)])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 2)])
def test_golden_rows_allow_one_millionth(folder: Path, off: float, accepted: bool, row: int, column: int) -> None:
    def edit(card: dict[str, Any]) -> None:
        card["golden_rows"][row]["probabilities"][column] += off

    _edit_card(folder, edit)
    if accepted:
        load_artifact(folder)
    else:
        assert "does not give the probabilities of its golden rows (off by 2e-06" in _rejection(folder)


def test_another_model_with_a_valid_digest_fails_the_golden_rows(folder: Path, second_version: Path) -> None:
    _replace_pickle(folder, (second_version / MODEL_FILE).read_bytes())
    assert "it is another model, or this machine computes differently" in _rejection(folder)


# Decision tables


def test_the_card_names_the_predictor_that_serves(folder: Path) -> None:
    card, model = _card(folder), load_artifact(folder).model
    assert (card["predictor"], card["table_cells"]) == ("decision table", model.card_fields()["table_cells"])
    assert model.predictor == "decision table"


def test_a_card_with_xgboost_is_served_without_a_table(folder: Path) -> None:
    table = load_artifact(folder).model
    _edit_card(folder, lambda card: card.update(predictor="xgboost", table_cells=0))
    model = load_artifact(folder).model
    assert (model.predictor, model.card_fields()["table_cells"]) == ("xgboost", 0)
    rows = load_iris().X
    assert model.predict_proba(rows).tobytes() == table.predict_proba(rows).tobytes()
    assert [model.predict_one(row) for row in rows.tolist()] == [table.predict_one(row) for row in rows.tolist()]


def test_a_card_older_than_tables_is_served_by_xgboost(folder: Path) -> None:
    _edit_card(folder, lambda card: (card.pop("predictor"), card.pop("table_cells")))
    assert load_artifact(folder).model.predictor == "xgboost"


@pytest.mark.parametrize("cells", [0, 1, -1])
def test_a_table_of_another_size_is_rejected(folder: Path, cells: int) -> None:
    real = _card(folder)["table_cells"]
    _edit_card(folder, lambda card: card.update(table_cells=max(0, real * (cells != 0) + cells)))
    sentence = _rejection(folder)
    assert f"makes a decision table of {real} cells, but its card records" in sentence


def test_an_unknown_predictor_is_rejected(folder: Path) -> None:
    _edit_card(folder, lambda card: card.update(predictor="crystal ball"))
    assert "Invalid enum value 'crystal ball'" in _rejection(folder)


def test_a_table_that_is_not_xgboost_is_rejected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine or release of XGBoost might compare a value at a threshold differently."""
    right = DecisionTable.cells
    below = np.float32(-1e30)
    monkeypatch.setattr(DecisionTable, "cells", lambda self, rows: right(self, np.nextafter(rows, below)))
    sentence = _rejection(folder)
    assert "cannot serve from the decision table that its card promises: " in sentence and "XGBoost" in sentence


def test_a_table_that_cannot_be_built_is_rejected(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_table, "MAX_CELLS", 10)
    assert "cannot serve from the decision table that its card promises: its thresholds make" in _rejection(folder)


def test_files_of_two_versions_do_not_mix(folder: Path, second_version: Path) -> None:
    (folder / CARD_FILE).write_bytes((second_version / CARD_FILE).read_bytes())
    assert f"is the card of version {second_version.name}" in _rejection(folder)


def test_every_kind_of_fault_has_its_own_sentence(folder: Path, second_version: Path) -> None:
    """The sentence identifies the fault for an operator."""
    good = {name: (folder / name).read_bytes() for name in (CARD_FILE, MODEL_FILE)}
    pickled = good[MODEL_FILE]
    faults: dict[str, Callable[[], Any]] = {
        "no card": lambda: (folder / CARD_FILE).unlink(),
        "no pickle": lambda: (folder / MODEL_FILE).unlink(),
        "truncated": lambda: (folder / MODEL_FILE).write_bytes(pickled[:-1]),
        "flipped": lambda: (folder / MODEL_FILE).write_bytes(b"\x00" + pickled[1:]),
        "other class": lambda: _replace_pickle(folder, pickle.dumps({})),
        "command": lambda: _replace_pickle(folder, pickle.dumps(_Command(os.system, "true"))),
        "untrained": lambda: _replace_pickle(folder, _global("model_training.model", "IrisModel")),
        "no state": lambda: _replace_pickle(folder, _with_state({})),
        "other version": lambda: _edit_card(folder, lambda card: card.update(model_version="v2")),
        "other format": lambda: _edit_card(folder, lambda card: card.update(card_format=9)),
        "missing field": lambda: _edit_card(folder, lambda card: card.pop("data")),
        "unknown field": lambda: _edit_card(folder, lambda card: card.update(x=1)),
        "not UTF-8": lambda: (folder / CARD_FILE).write_bytes(b"\xff"),
        "features": lambda: _edit_card(folder, lambda card: card["features"].pop()),
        "golden shape": lambda: _edit_card(folder, lambda card: card["golden_rows"][0]["features"].pop()),
        "other model": lambda: _replace_pickle(folder, (second_version / MODEL_FILE).read_bytes()),
        "other cells": lambda: _edit_card(folder, lambda card: card.update(table_cells=7)),
    }
    sentences = {}
    for name, break_it in faults.items():
        break_it()
        sentences[name] = _rejection(folder)
        for file, raw in good.items():
            (folder / file).write_bytes(raw)
    assert len(set(sentences.values())) == len(faults), sentences
    load_artifact(folder)
