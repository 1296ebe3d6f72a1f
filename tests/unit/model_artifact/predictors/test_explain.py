"""Contributions add up to the model's log-odds."""

import pickle
import threading

import numpy as np
import pytest
import xgboost

from model_artifact.errors import NotTrainedError
from model_training.data.datasets import load_iris
from model_training.model import IrisModel


@pytest.fixture(scope="module")
def model() -> IrisModel:
    """A model as in the API: trained with the default hyperparameters, then loaded from its pickle."""
    iris = load_iris()
    return pickle.loads(pickle.dumps(IrisModel().train(iris.X, iris.y)))


def test_contributions_and_base_values_add_up_to_the_margin_of_every_iris_and_class(model: IrisModel) -> None:
    rows = load_iris().X
    contributions, base_values = model.explain(rows)
    assert contributions.shape == (150, 3, 4) and base_values.shape == (150, 3)
    margins = model.booster.predict(xgboost.DMatrix(rows, nthread=1), output_margin=True)
    assert np.abs(contributions.sum(axis=2) + base_values - margins).max() < 1e-4


def test_softmax_over_the_sums_gives_the_probabilities(model: IrisModel) -> None:
    rows = load_iris().X
    contributions, base_values = model.explain(rows)
    powers = np.exp(contributions.sum(axis=2) + base_values)
    assert np.abs(powers / powers.sum(axis=1, keepdims=True) - model.predict_proba(rows)).max() < 1e-5


def test_one_row_at_a_time_in_many_threads_gives_the_bits_of_the_whole_table(model: IrisModel) -> None:
    rows = load_iris().X
    expected, _ = model.explain(rows)
    wrong = []

    def explain_each() -> None:
        for index in range(0, len(rows), 3):
            contributions, _ = model.explain(rows[index : index + 1])
            if not np.array_equal(contributions[0], expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=explain_each) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_classes_and_one_feature_have_the_same_shape() -> None:
    """XGBoost itself would drop an axis."""
    X = np.arange(20.0).reshape(-1, 1)
    contributions, base_values = IrisModel(n_estimators=3).train(X, X[:, 0] > 9).explain(X[:1])
    assert contributions.shape == (1, 2, 1) and base_values.shape == (1, 2)


def test_other_columns_and_an_untrained_model_are_rejected(model: IrisModel) -> None:
    with pytest.raises(ValueError, match="4 features, not 3"):
        model.explain([[1, 2, 3]])
    with pytest.raises(NotTrainedError):
        IrisModel().explain([[1, 2, 3, 4]])
