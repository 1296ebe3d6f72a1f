"""The estimators: their hyperparameters, and the behaviour that all share."""

import inspect
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Peer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_artifact.errors import NotTrainedError
from model_training.data.datasets import load_iris
from model_training.estimators.logistic_regression import LogisticRegression
from model_training.estimators.parameters import ESTIMATORS, PARAMETERS, check_parameters, make_model
from model_training.estimators.random_forest import RandomForest
from model_training.evaluation import row_log_losses

QUICK: dict[str, dict[str, int]] = {"xgboost": {"n_estimators": 10}, "random-forest": {"n_estimators": 10}}
TABLES = {"iris": lambda: (load_iris().X, load_iris().y), "digits": lambda: load_digits(return_X_y=True)}
TABLES["two classes"] = lambda: (load_iris().X[:100], load_iris().y[:100])


@pytest.fixture(scope="module", params=[(estimator, table) for estimator in ESTIMATORS for table in TABLES], ids=str)
def trained(request: pytest.FixtureRequest) -> tuple[Any, Any, Any]:
    """A model as in the API, and its training rows and labels."""
    estimator, table = request.param
    X, y = TABLES[table]()
    model = make_model(estimator, QUICK.get(estimator, {}), 42).train(X, y)
    return pickle.loads(pickle.dumps(model)), X, y


def test_each_classifies_what_it_was_trained_on(trained: Any) -> None:
    model, X, y = trained
    assert (model.n_features, model.n_classes) == (X.shape[1], len(np.unique(y)))
    probabilities = model.predict_proba(X)
    assert probabilities.dtype == np.float32 and probabilities.shape == (len(X), model.n_classes)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(model.predict(X), probabilities.argmax(axis=1))
    assert model.evaluate(X, y)["accuracy"] > 0.93
    assert model.predict_proba(X[:0]).shape == (0, model.n_classes)


def test_a_row_alone_gets_the_bits_that_it_gets_among_many(trained: Any) -> None:
    """Otherwise an answer of the API would depend on the client's batches, and on the code path."""
    model, X, _ = trained
    chance = np.random.default_rng(0)
    rows = chance.permutation(np.vstack([X] * (10_000 // len(X))) + chance.normal(0, 3, X.shape[1]))
    rows[:3] = np.array([[3.4e38], [-3.4e38], [1e-40]])
    rows = rows.astype(np.float32)
    many = model.predict_proba(rows)
    assert np.isfinite(many).all()
    for index in (*range(300), 4095, 4096, len(rows) - 1):
        alone = model.predict_one(rows[index].tolist())
        assert alone == many[index].tolist() == model.predict_proba(rows[index : index + 1])[0].tolist()


def test_contributions_and_base_values_give_the_probabilities(trained: Any) -> None:
    model, X, _ = trained
    contributions, base_values = model.explain(X[:200])
    assert contributions.shape == (len(X[:200]), model.n_classes, X.shape[1])
    assert base_values.shape == (len(X[:200]), model.n_classes)
    powers = np.exp(contributions.sum(axis=2, dtype=np.float64) + base_values)
    assert np.abs(powers / powers.sum(axis=1, keepdims=True) - model.predict_proba(X[:200])).max() < 1e-5


def test_importance_is_shares_and_finds_the_features_that_count(trained: Any) -> None:
    model, X, _ = trained
    importance = model.importance()
    assert importance.shape == (X.shape[1],)
    assert importance.sum() == pytest.approx(1) and importance.min() >= 0
    if X.shape[1] == 4:
        assert importance[2:].sum() > importance[:2].sum(), "petals tell irises apart"


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_untrained_models_and_other_columns_are_rejected(estimator: Any) -> None:
    model = make_model(estimator, QUICK.get(estimator, {}), 42)
    for ask in (model.predict_proba, model.explain, lambda rows: model.predict_one(rows[0])):
        with pytest.raises(NotTrainedError):
            ask([[1, 2, 3, 4]])
    with pytest.raises(ValueError, match=r"labels must be 0\.\.k-1"):
        model.train(np.ones((4, 2)), [1, 2, 1, 2])
    with pytest.raises(ValueError, match="4 rows need as many labels"):
        model.train(np.ones((4, 2)), [0, 1])
    model.train(np.arange(8.0).reshape(4, 2), [0, 0, 1, 1])
    for ask in (model.predict_proba, model.explain):
        with pytest.raises(ValueError, match="2 features, not 3"):
            ask([[1, 2, 3]])


def test_same_seed_gives_the_same_bits_on_any_number_of_cores(repository: Path) -> None:
    code = f"""
import os; os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "%d"
from sklearn.datasets import load_digits
from model_training.estimators.parameters import make_model
X, y = load_digits(return_X_y=True)
for estimator in {ESTIMATORS}:
    model = make_model(estimator, {QUICK}.get(estimator, {{}}), 42).train(X, y)
    print(estimator, model.predict_proba(X).tobytes().hex())
"""
    first, second = (
        subprocess.run([sys.executable, "-c", code % threads], cwd=repository, capture_output=True, check=True).stdout
        for threads in (1, 4)
    )
    assert first.count(b"\n") == 3
    assert first == second


# Hyperparameters


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_defaults_are_those_of_the_constructor_and_within_their_bounds(estimator: Any) -> None:
    model = make_model(estimator, {}, 7)
    signature = inspect.signature(type(model))
    for name, parameter in PARAMETERS[estimator].items():
        assert signature.parameters[name].default == parameter.default == model.hyperparameters[name]
        assert parameter.minimum <= parameter.default <= parameter.maximum
        assert parameter.help.endswith(".")
    if "random_state" in signature.parameters:
        assert model.hyperparameters["random_state"] == 7
    assert set(signature.parameters) - {"random_state"} == set(PARAMETERS[estimator])


@pytest.mark.parametrize(
    ("estimator", "given", "sentence"),
    [
        ("xgboost", {"depth": 3}, "xgboost has no parameter 'depth'; it has n_estimators, max_depth, learning_rate"),
        ("random-forest", {"colsample_bytree": 1}, "random-forest has no parameter 'colsample_bytree'"),
        ("xgboost", {"max_depth": 0}, "max_depth of xgboost must be a whole number from 1 to 32, not 0"),
        ("xgboost", {"max_depth": 2.5}, "must be a whole number from 1 to 32, not 2.5"),
        (
            "xgboost",
            {"n_estimators": 10**400},
            "n_estimators of xgboost must be a whole number from 1 to 10,000, not 1",
        ),
        ("xgboost", {"subsample": 0}, "subsample of xgboost must be a number from 0.01 to 1, not 0"),
        ("xgboost", {"subsample": float("nan")}, "not nan"),
        ("xgboost", {"learning_rate": float("inf")}, "not inf"),
        ("xgboost", {"max_depth": True}, "not True"),
        ("xgboost", {"max_depth": "4"}, "not 4"),
        ("xgboost", {"max_depth": None}, "not None"),
        ("logistic-regression", {"C": 0}, "C of logistic-regression must be a number from 1e-06 to 1e+06, not 0"),
        ("xgboost", {"random_state": 1}, "has no parameter 'random_state'"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_bounds(estimator: Any, given: dict[str, Any], sentence: str) -> None:
    for use in (check_parameters, lambda estimator, given: make_model(estimator, given, 1)):
        with pytest.raises(ValueError) as rejection:
            use(estimator, given)
        assert sentence in str(rejection.value)
        assert len(str(rejection.value)) < 300 and "\n" not in str(rejection.value)


def test_a_parameter_comes_back_in_its_kind_and_no_other_is_added() -> None:
    checked = check_parameters("xgboost", {"max_depth": 3.0, "subsample": 1})
    assert checked == {"max_depth": 3, "subsample": 1.0}
    assert [type(value) for value in checked.values()] == [int, float]


# The forest


def test_the_forest_is_one_round_of_trees_that_a_decision_table_may_replace() -> None:
    iris = load_iris()
    model = RandomForest(n_estimators=7, max_depth=3).train(iris.X, iris.y)
    assert (len(model.booster.get_dump()), model.booster.num_boosted_rounds()) == (7 * 3, 1)
    before = model.predict_proba(iris.X)
    assert model.predictor == "xgboost"
    model.specialise()
    assert model.predictor == "decision table"
    assert np.array_equal(model.predict_proba(iris.X), before)


def test_the_forest_is_confident_where_its_trees_agree() -> None:
    """One Newton step alone would give at most 0.82 with three classes."""
    iris = load_iris()
    probabilities = RandomForest().train(iris.X, iris.y).predict_proba(iris.X[:50])
    assert np.median(probabilities[:, 0]) > 0.95


# The linear model


@pytest.mark.parametrize("table", ["two classes", "digits"])
def test_probabilities_are_those_of_scikit_learn_with_scaling(table: str) -> None:
    X, y = (part[:600] for part in TABLES[table]())
    peer = make_pipeline(StandardScaler(), Peer(C=0.5, max_iter=1000)).fit(X.astype(np.float32).astype(float), y)
    model = LogisticRegression(C=0.5).train(X, y)
    assert np.abs(model.predict_proba(X) - peer.predict_proba(X)).max() < 1e-6


def test_contributions_are_exact_shap_values_of_a_linear_model() -> None:
    """Their mean over the training rows is 0, and a value twice as far from its mean contributes twice as much."""
    iris = load_iris()
    model = LogisticRegression().train(iris.X, iris.y)
    contributions, base_values = model.explain(iris.X)
    assert np.abs(contributions.mean(axis=0)).max() < 1e-6
    means = iris.X.astype(np.float32).astype(float).mean(axis=0)
    near, far = (model.explain([means + times])[0] for times in (1, 2))
    assert np.allclose(2 * near, far, atol=1e-4)
    powers = np.exp(base_values[0])
    assert np.allclose(powers / powers.sum(), model.predict_proba([means])[0], atol=1e-5)


def test_columns_of_all_sizes_and_one_value_are_scaled() -> None:
    iris = load_iris()
    plain = LogisticRegression().train(iris.X, iris.y)
    X = np.column_stack([iris.X * [1e-6, 1e6, 1, 1], np.full(150, 7.0)])
    other = LogisticRegression().train(X, iris.y)
    assert np.abs(other.predict_proba(X) - plain.predict_proba(iris.X)).max() < 1e-4
    assert other.importance()[4] == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_linear_model_needs_every_value_to_train(value: float) -> None:
    iris = load_iris()
    X = iris.X.copy()
    X[3, 1] = value
    with pytest.raises(ValueError, match="needs every value of every row: fill in the missing ones"):
        LogisticRegression().train(X, iris.y)


def test_an_optimiser_that_stops_early_is_no_error() -> None:
    iris = load_iris()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        early = LogisticRegression(max_iter=1).train(iris.X, iris.y)
    late = LogisticRegression().train(iris.X, iris.y)
    losses = [row_log_losses(iris.y, model.predict_proba(iris.X)).mean() for model in (early, late)]
    assert losses[0] > losses[1]
