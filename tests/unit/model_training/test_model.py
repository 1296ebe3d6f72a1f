"""The estimator: its errors, its results, and its pickle."""

import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from model_artifact.errors import NotTrainedError
from model_training.data.datasets import load_iris
from model_training.evaluation import classification_metrics, cross_validate
from model_training.model import IrisModel


@pytest.fixture(scope="module")
def model() -> IrisModel:
    iris = load_iris()
    return IrisModel(n_estimators=10).train(iris.X, iris.y)


def _run(repository: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_constructor_is_the_originals() -> None:
    """People call it by position and by name with the original's defaults."""
    assert IrisModel().hyperparameters == {
        "n_estimators": 100,
        "max_depth": 4,
        "learning_rate": 0.1,
        "subsample": 0.8,
        "colsample_bytree": 0.8,
        "random_state": 42,
    }
    assert list(IrisModel(1, 2, 0.3, 0.4, 0.5, 6).hyperparameters.values()) == [1, 2, 0.3, 0.4, 0.5, 6]


def test_same_seed_gives_the_same_bits_in_another_process(repository: Path) -> None:
    """Also with other thread settings: a model must not depend on the number of cores that trained it."""
    code = """
        import os; os.environ["OMP_NUM_THREADS"] = "{threads}"
        from model_training.data.datasets import load_iris
        from model_training.model import IrisModel
        iris = load_iris()
        print(IrisModel().train(iris.X, iris.y).predict_proba(iris.X).tobytes().hex())
    """
    first, second = (_run(repository, code.format(threads=threads)).strip() for threads in (1, 4))
    assert first == second
    iris = load_iris()
    other = IrisModel(random_state=43).train(iris.X, iris.y).predict_proba(iris.X)
    assert first != other.tobytes().hex(), "the seed is not used"


def test_probabilities_and_classes_agree(model: IrisModel) -> None:
    iris = load_iris()
    probabilities = model.predict_proba(iris.X)
    assert probabilities.shape == (150, 3)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (model.predict(iris.X) == probabilities.argmax(axis=1)).all()
    assert (model.predict(iris.X) == iris.y).mean() > 0.9


def test_one_row_at_a_time_gives_the_bits_of_the_whole_table(model: IrisModel) -> None:
    """Otherwise an answer of the API would depend on the client's batches."""
    rows = load_iris().X
    assert np.array_equal(np.vstack([model.predict_proba([row]) for row in rows]), model.predict_proba(rows))


@pytest.mark.parametrize(
    "X",
    [
        pytest.param(load_iris().X.tolist(), id="lists"),
        pytest.param(load_iris().X.astype(np.float32), id="float32"),
        pytest.param(np.asfortranarray(load_iris().X), id="column order"),
        pytest.param(np.repeat(load_iris().X, 2, axis=0)[::2], id="strided"),
    ],
)
def test_memory_layout_does_not_matter(model: IrisModel, X: object) -> None:
    assert np.array_equal(model.predict_proba(X), model.predict_proba(load_iris().X))


def test_no_rows_give_no_probabilities(model: IrisModel) -> None:
    assert model.predict_proba(np.empty((0, 4))).shape == (0, 3)


@pytest.mark.parametrize("shape", [(4,), (1, 3), (1, 5), (1, 1, 4)])
def test_rows_of_another_shape_are_rejected(model: IrisModel, shape: tuple[int, ...]) -> None:
    """XGBoost itself would answer, with wrong numbers (kserve#1513)."""
    with pytest.raises(ValueError, match=r"a row has 4 features|rows must have shape"):
        model.predict_proba(np.ones(shape))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 1], "3 rows need as many labels"),
        ([[0], [1], [2]], "3 rows need as many labels"),
        ([0, 0, 0], "labels must be 0..k-1"),
        ([1, 2, 3], "labels must be 0..k-1"),
        ([0, 2, 0], "labels must be 0..k-1"),
        ([-1, 0, 1], "labels must be 0..k-1"),
    ],
)
def test_labels_that_cannot_be_learned_are_rejected(labels: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        IrisModel().train(np.ones((3, 2)), labels)


def test_an_untrained_model_is_an_error() -> None:
    for use in (lambda: IrisModel().predict([[1, 2, 3, 4]]), lambda: pickle.dumps(IrisModel())):
        with pytest.raises(NotTrainedError, match="call train"):
            use()


def test_pickle_round_trip_gives_identical_bits(model: IrisModel) -> None:
    again = pickle.loads(pickle.dumps(model))
    rows = load_iris().X
    assert again.predict_proba(rows).tobytes() == model.predict_proba(rows).tobytes()
    assert again.hyperparameters == model.hyperparameters
    assert pickle.dumps(again) == pickle.dumps(model)


def test_pickle_holds_ubjson_and_no_object_of_xgboost(model: IrisModel) -> None:
    """UBJSON survives an upgrade of XGBoost; a pickled Booster does not (xgboost#8745)."""
    pickled = pickle.dumps(model)
    assert b"xgboost" not in pickled
    assert model.__getstate__()["booster"].startswith(b"{L")


def test_two_classes_and_other_widths_work() -> None:
    """The data alone defines the numbers of features and classes."""
    rng = np.random.default_rng(0)
    X, y = rng.random((40, 7)), np.arange(40) % 2
    model = pickle.loads(pickle.dumps(IrisModel(n_estimators=2).train(X, y)))
    assert (model.n_features, model.n_classes) == (7, 2)
    assert model.predict_proba(X[:3]).shape == (3, 2)


def test_metrics_agree_with_hand_made_numbers() -> None:
    """Four rows of classes 0, 0, 1, 2; the second is predicted as class 1."""
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]], dtype=np.float32)
    metrics = classification_metrics(np.array([0, 0, 1, 2]), probabilities)
    assert metrics["accuracy"] == 0.75
    # F1 of the classes: 2/3 (precision 1, recall 1/2), 2/3 (precision 1/2, recall 1), 1.
    assert metrics["macro_f1"] == pytest.approx(7 / 9)
    assert metrics["log_loss"] == pytest.approx(-np.log([0.8, 0.2, 0.6, 0.5]).mean(), abs=1e-6)
    assert metrics["confusion_matrix"] == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_a_class_that_is_not_held_out_keeps_its_row_and_column() -> None:
    """There is no warning, which would be an error here."""
    metrics = classification_metrics(np.array([0, 0]), np.array([[1, 0, 0], [0.5, 0.3, 0.2]]))
    assert metrics["confusion_matrix"] == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert metrics["accuracy"] == 1


def test_evaluate_judges_the_models_own_predictions(model: IrisModel) -> None:
    iris = load_iris()
    metrics = model.evaluate(iris.X, iris.y)
    assert (
        metrics["accuracy"] == np.trace(metrics["confusion_matrix"]) / 150 == (model.predict(iris.X) == iris.y).mean()
    )


def test_cross_validation_never_evaluates_a_training_row() -> None:
    seen = []

    class Parrot:
        def train(self, X: np.ndarray, _y: np.ndarray) -> None:
            self.known = {row[0] for row in X}

        def predict(self, X: np.ndarray) -> np.ndarray:
            assert not self.known & {row[0] for row in X}
            seen.extend(row[0] for row in X)
            return np.zeros(len(X), dtype=np.int64)

    result = cross_validate(Parrot, np.arange(20.0).reshape(20, 1), np.arange(20) % 2, folds=5, seed=1)
    assert sorted(seen) == list(range(20))
    assert (result.folds, result.accuracy_mean, result.accuracy_std) == (5, 0.5, 0.0)


def test_predicting_needs_no_training_package(repository: Path, trained_store: Path) -> None:
    """The API's image has neither scikit-learn nor pandas; here they are installed, so their import is made to fail."""
    code = f"""
        import sys
        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("sklearn", "pandas", "pyarrow", "matplotlib"):
                    raise ModuleNotFoundError("blocked: " + name, name=name)
        sys.meta_path.insert(0, Blocker())
        from flask_app.application import create_app
        from flask_app.settings import ApiSettings
        client = create_app(ApiSettings(model_store={str(trained_store)!r})).test_client()
        answer = client.post("/predict", json={{"features": [5.1, 3.5, 1.4, 0.2]}})
        assert answer.status_code == 200, answer.text
        print(answer.json["class_name"])
        training = {{"sklearn", "pandas", "model_training.train", "model_training.data.datasets"}} & set(sys.modules)
        assert not training, training
    """
    assert _run(repository, code).strip() == "setosa"
