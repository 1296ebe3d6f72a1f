"""The search for hyperparameters."""

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from model_training.data.datasets import load_iris
from model_training.estimators.parameters import ESTIMATORS, PARAMETERS, make_model
from model_training.evaluation import row_log_losses
from model_training.search import SPANS, search_parameters


def search(estimator: Any = "logistic-regression", **options: Any) -> dict[str, int | float]:
    iris = load_iris()
    arguments = {"fixed": {}, "trials": 8, "folds": 3, "seed": 1} | options
    return search_parameters(estimator, iris.X, iris.y, **arguments)


def loss(estimator: Any, parameters: dict[str, Any]) -> float:
    """Return the loss over the folds of a search with seed 1."""
    iris = load_iris()
    losses = []
    for train, test in StratifiedKFold(3, shuffle=True, random_state=1).split(iris.X, iris.y):
        model = make_model(estimator, parameters, 1).train(iris.X[train], iris.y[train])
        losses.append(row_log_losses(iris.y[test], model.predict_proba(iris.X[test])))
    return float(np.concatenate(losses).mean())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_search_spans_are_within_the_bounds(estimator: Any) -> None:
    for name, span in SPANS[estimator].items():
        parameter = PARAMETERS[estimator][name]
        assert parameter.minimum <= span.low < span.high <= parameter.maximum
        assert span.low <= parameter.default <= span.high


def test_it_improves_on_the_defaults_and_reports_progress() -> None:
    reported: list[tuple[float, str]] = []
    found = search(progress=lambda share, text: reported.append((share, text)))
    assert loss("logistic-regression", found) < loss("logistic-regression", {}) - 0.02
    assert [share for share, _ in reported] == [number / 8 for number in range(1, 9)]
    assert reported[0][
        1
    ] == f"trial 1 of 8: log loss {loss('logistic-regression', {}):.4f} over 3 folds, the best so far" + (
        f" {loss('logistic-regression', {}):.4f}"
    )
    assert reported[-1][1].endswith(f"the best so far {loss('logistic-regression', found):.4f}")


def test_one_trial_is_the_defaults() -> None:
    assert search(trials=1) == {"C": PARAMETERS["logistic-regression"]["C"].default}


@pytest.mark.parametrize("estimator", ["xgboost", "random-forest"])
def test_fixed_parameters_stay_and_equal_seeds_give_equal_results(estimator: Any) -> None:
    fixed = {"n_estimators": 5, "max_depth": 2.0}
    found = search(estimator, fixed=fixed, trials=4)
    assert (found["n_estimators"], found["max_depth"]) == (5, 2)
    assert found.keys() == SPANS[estimator].keys() | {"n_estimators"}
    assert found == search(estimator, fixed=fixed, trials=4)
    make_model(estimator, found, 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fixed": {"C": 1}}, "there is nothing to search: C of logistic-regression are given"),
        ({"fixed": {"C": -1}}, "C of logistic-regression must be a number from"),
        ({"trials": 0}, "a search needs at least 1 trial, not 0"),
        ({"folds": 0}, "a search needs at least 2 folds, not 0"),
        ({"folds": 51}, "a class has 50 training rows, too few for 51 folds"),
    ],
)
def test_a_search_without_parameters_is_an_error(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        search(**options)


def test_rows_that_the_estimator_rejects_end_it_with_its_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    iris = load_iris()
    X = iris.X.copy()
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="logistic regression needs every value"):
        search_parameters("logistic-regression", X, iris.y, fixed={}, trials=2, folds=3, seed=1)
    assert capfd.readouterr() == ("", "")
