"""The loader with each estimator, and with pickles of a wrong state."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_artifact.errors import ArtifactError
from model_artifact.pickling import CARD_FILE, MODEL_FILE, load_artifact
from model_artifact.predictors.linear import LinearPredictor
from model_artifact.predictors.trees import BoostedTrees, RandomForestTrees
from model_training.data.datasets import load_iris
from model_training.estimators.logistic_regression import LogisticRegression
from model_training.estimators.parameters import ESTIMATORS
from model_training.estimators.random_forest import RandomForest
from model_training.model import IrisModel

PREDICTORS = {"xgboost": "decision table", "random-forest": "decision table", "logistic-regression": "linear"}


@pytest.fixture
def folder_of(store_of: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A test's own copy of an estimator's version."""
    return lambda estimator: shutil.copytree(store_of(estimator) / "versions" / estimator, tmp_path / estimator)


def edit_card(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / CARD_FILE).read_bytes())
    (folder / CARD_FILE).write_text(json.dumps(card | changes))


def replace_model(folder: Path, model: Any) -> None:
    """Replace the pickle and its digest, as an attacker with write access to both files would."""
    replace_pickle(folder, pickle.dumps(model, protocol=5))


def replace_pickle(folder: Path, pickled: bytes) -> None:
    (folder / MODEL_FILE).write_bytes(pickled)
    digest = hashlib.sha256(pickled).hexdigest()
    edit_card(folder, artifact={"file": MODEL_FILE, "sha256": digest, "bytes": len(pickled)})


def with_state(kind: type, state: Any) -> Any:
    """Return an object that pickles to an instance of the class with that state."""

    class Stranger:
        def __reduce_ex__(self, protocol: Any) -> Any:
            return kind, (), state

    return Stranger()


def rejection(folder: Path) -> str:
    with pytest.raises(ArtifactError) as rejected:
        load_artifact(folder, folder.name)
    sentence = str(rejected.value)
    assert sentence.endswith(".") and len(sentence) < 400 and "\n" not in sentence, sentence
    return sentence


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_each_gives_the_same_probabilities_as_after_training(folder_of: Any, estimator: str) -> None:
    artifact = load_artifact(folder_of(estimator), estimator)
    assert (artifact.model.estimator, artifact.card.estimator) == (estimator, estimator)
    assert artifact.model.predictor == artifact.card.predictor == PREDICTORS[estimator]
    assert artifact.model.hyperparameters == artifact.card.hyperparameters
    iris = load_iris()
    assert (artifact.model.predict(iris.X) == iris.y).mean() > 0.95


SERVING = {"xgboost": BoostedTrees, "random-forest": RandomForestTrees, "logistic-regression": LinearPredictor}


@pytest.mark.parametrize(
    ("estimator", "module", "name"),
    [
        ("xgboost", "model_training.model", "IrisModel"),
        ("random-forest", "model_training.random_forest", "RandomForest"),
        ("logistic-regression", "model_training.logistic_regression", "LogisticRegression"),
    ],
)
def test_pickles_of_earlier_releases_load(folder_of: Any, estimator: str, module: str, name: str) -> None:
    """Protocol 3 has no frames, so that the state can follow the name."""
    folder = folder_of(estimator)
    trained = pickle.loads((folder / MODEL_FILE).read_bytes())
    state = pickle.dumps(trained.__getstate__(), protocol=3)[2:-1]
    replace_pickle(folder, f"\x80\x03c{module}\n{name}\n)\x81".encode("latin-1") + state + b"b.")
    model = load_artifact(folder, estimator).model
    assert type(model) is SERVING[estimator]
    rows = load_iris().X
    assert model.predict_proba(rows).tobytes() == trained.predict_proba(rows).tobytes()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_loaded_model_can_be_pickled_again(folder_of: Any, estimator: str) -> None:
    folder = folder_of(estimator)
    model = load_artifact(folder, estimator).model
    replace_model(folder, model)
    assert load_artifact(folder, estimator).model.hyperparameters == model.hyperparameters


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [("xgboost", IrisModel), ("random-forest", RandomForest), ("logistic-regression", LogisticRegression)],
)
def test_pickle_alone_gives_the_class_of_training(folder_of: Any, estimator: str, kind: type) -> None:
    """Where `model_training` can be imported, a model from the store can be evaluated and trained again."""
    model: Any = pickle.loads((folder_of(estimator) / MODEL_FILE).read_bytes())
    iris = load_iris()
    assert type(model) is kind
    assert model.evaluate(iris.X, iris.y)["accuracy"] == (model.predict(iris.X) == iris.y).mean() > 0.95
    assert model.train(iris.X[:100], iris.y[:100]).n_classes == 2


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("other", ESTIMATORS)
def test_a_model_of_another_estimator_than_the_cards_is_rejected(folder_of: Any, estimator: str, other: str) -> None:
    folder = folder_of(estimator)
    edit_card(folder, estimator=other)
    if estimator == other:
        load_artifact(folder, estimator)
    else:
        assert rejection(folder) == (
            f"iris_model.pkl holds a model of {estimator}, but its card records {other}; train again."
        )


@pytest.mark.parametrize(
    ("estimator", "predictor", "part"),
    [
        ("xgboost", "linear", "is served by xgboost, but its card records linear"),
        ("logistic-regression", "xgboost", "is served by linear, but its card records xgboost"),
        ("logistic-regression", "decision table", "is served by linear, but its card records decision table"),
    ],
)
def test_another_predictor_than_the_cards_is_rejected(
    folder_of: Any, estimator: str, predictor: str, part: str
) -> None:
    folder = folder_of(estimator)
    edit_card(folder, predictor=predictor)
    assert part in rejection(folder)


def test_xgboost_serves_the_models_of_old_cards(folder_of: Any) -> None:
    """Old cards predate the other estimators."""
    folder = folder_of("xgboost")
    card = json.loads((folder / CARD_FILE).read_bytes())
    for name in ("estimator", "predictor", "table_cells", "picture", "gate"):
        del card[name]
    (folder / CARD_FILE).write_text(json.dumps(card))
    artifact = load_artifact(folder, "xgboost")
    assert (artifact.card.estimator, artifact.model.predictor) == ("xgboost", "xgboost")


def state_of(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = pickle.loads((folder / MODEL_FILE).read_bytes()).__getstate__()
    return state


@pytest.mark.parametrize(
    "edit",
    [
        lambda _: None,
        lambda _: [],
        lambda _: {},
        lambda formula: formula | {"more": 1.0},
        lambda formula: {name: formula[name] for name in ("weights", "base_values", "means")},
        lambda formula: formula | {"weights": None},
        lambda formula: formula | {"weights": []},
        lambda formula: formula | {"weights": formula["weights"][:1], "base_values": formula["base_values"][:1]},
        lambda formula: formula | {"weights": [[], [], []], "means": [], "scales": []},
        lambda formula: formula | {"weights": [*formula["weights"][:2], formula["weights"][2][:3]]},
        lambda formula: formula | {"weights": [[[0.5]] * 4] * 3},
        lambda formula: formula | {"weights": [[1] * 4] * 3},
        lambda formula: formula | {"weights": [[True] * 4] * 3},
        lambda formula: formula | {"weights": [["0.5"] * 4] * 3},
        lambda formula: formula | {"weights": [[float("nan")] * 4] * 3},
        lambda formula: formula | {"weights": [[float("inf")] * 4] * 3},
        lambda formula: formula | {"weights": [[1e300] * 4] * 3},
        lambda formula: formula | {"base_values": formula["base_values"][:2]},
        lambda formula: formula | {"base_values": [float("inf"), 0.0, 0.0]},
        lambda formula: formula | {"means": formula["means"][:3]},
        lambda formula: formula | {"means": [float("nan")] * 4},
        lambda formula: formula | {"means": tuple(formula["means"])},
        lambda formula: formula | {"scales": formula["scales"] * 2},
        lambda formula: formula | {"scales": [float("inf")] * 4},
        lambda formula: formula | {"scales": b"scales"},
    ],
)
def test_a_false_formula_is_rejected(folder_of: Any, edit: Callable[[Any], Any]) -> None:
    folder = folder_of("logistic-regression")
    state = state_of(folder)
    replace_model(folder, with_state(LogisticRegression, state | {"formula": edit(state["formula"])}))
    assert "cannot be opened (ValueError)" in rejection(folder)


@pytest.mark.parametrize("change", [{"C": "1"}, {"C": float("nan")}, {"max_iter": None}, {"more": 1}])
def test_a_false_state_beside_the_formula_is_rejected(folder_of: Any, change: dict[str, Any]) -> None:
    folder = folder_of("logistic-regression")
    replace_model(folder, with_state(LogisticRegression, state_of(folder) | change))
    assert "cannot be opened (ValueError)" in rejection(folder)


@pytest.mark.parametrize(
    "change", [{"colsample_bynode": "0.5"}, {"booster": b""}, {"booster": None}, {"n_classes": 0}, {"max_leaves": 3}]
)
def test_a_false_forest_is_rejected(folder_of: Any, change: dict[str, Any]) -> None:
    folder = folder_of("random-forest")
    replace_model(folder, with_state(RandomForest, state_of(folder) | change))
    assert "cannot be opened (" in rejection(folder)


@pytest.mark.parametrize("kind", [LogisticRegression, RandomForest])
def test_a_model_without_a_state_is_rejected(folder_of: Any, kind: type) -> None:
    folder = folder_of(kind.estimator)
    replace_model(folder, with_state(kind, None))
    assert "holds a model that was never trained" in rejection(folder)


@pytest.mark.parametrize("estimator", ["random-forest", "logistic-regression"])
def test_the_state_of_another_class_is_rejected(folder_of: Any, estimator: str) -> None:
    folder = folder_of(estimator)
    kinds = {"random-forest": LogisticRegression, "logistic-regression": RandomForest}
    replace_model(folder, with_state(kinds[estimator], state_of(folder)))
    assert "cannot be opened (ValueError)" in rejection(folder)


def test_changed_weights_fail_the_golden_rows(folder_of: Any) -> None:
    folder = folder_of("logistic-regression")
    model = load_artifact(folder).model
    state = model.__getstate__()  # type: ignore[attr-defined]
    state["formula"]["weights"][0][0] += 0.001
    replace_model(folder, with_state(LogisticRegression, state))
    assert "does not give the probabilities of its golden rows" in rejection(folder)


def test_the_largest_accepted_weights_give_probabilities(folder_of: Any) -> None:
    """Weights that pass the check never give NaN for a row that the API accepts."""
    folder = folder_of("logistic-regression")
    formula = state_of(folder)["formula"]
    large = LogisticRegression()
    large.__setstate__(
        large.hyperparameters | {"formula": formula | {"weights": [[1e268] * 4, [-1e268] * 4, [0.0] * 4]}}
    )
    rows = np.array([[3.4e38, -3.4e38, 3.4e38, 3.4e38], [-3.4e38] * 4], dtype=np.float32)
    assert np.isfinite(large.predict_proba(rows)).all()
    assert np.isfinite([large.predict_one(row) for row in rows.tolist()]).all()
