"""The search for hyperparameters: Optuna proposes, stratified folds judge by log loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from model_artifact.card import Estimator
from model_training.estimators.parameters import PARAMETERS, check_parameters, make_model
from model_training.evaluation import row_log_losses


class Span(NamedTuple):
    """Where a parameter is searched, and whether by its logarithm."""

    low: int | float
    high: int | float
    by_logarithm: bool = False


# Narrower than what may be set. What is missing has a default that is good for every table, or only costs time.
SPANS: dict[Estimator, dict[str, Span]] = {
    "xgboost": {
        "n_estimators": Span(50, 400, by_logarithm=True),
        "max_depth": Span(2, 8),
        "learning_rate": Span(0.02, 0.5, by_logarithm=True),
        "subsample": Span(0.5, 1.0),
        "colsample_bytree": Span(0.3, 1.0),
    },
    "random-forest": {
        "max_depth": Span(4, 16),
        "subsample": Span(0.5, 1.0),
        "colsample_bynode": Span(0.1, 1.0),
        "learning_rate": Span(1.0, 5.0, by_logarithm=True),
    },
    "logistic-regression": {"C": Span(0.001, 1000.0, by_logarithm=True)},
}


def search_parameters(
    estimator: Estimator,
    X: NDArray[Any],
    y: NDArray[Any],
    *,
    fixed: Mapping[str, int | float],
    trials: int,
    folds: int,
    seed: int,
    progress: Callable[[float, str], None] | None = None,
) -> dict[str, int | float]:
    """The parameters with the least log loss over stratified, shuffled folds of rows X and labels y.

    fixed are those that are given, and stay; all others are tried, the defaults first, so that what is found is at
    least as good as they are. progress is told the share that is done and a sentence after each trial. The same
    arguments give the same parameters.

    Raises:
        ValueError: a fixed parameter is wrong, none is left to search, or the rows are too few for the folds.
    """
    # Half a second to import.
    import optuna

    fixed = check_parameters(estimator, fixed)
    spans = {name: span for name, span in SPANS[estimator].items() if name not in fixed}
    _check(estimator, y, spans, trials, folds)
    rows = np.asarray(X, dtype=np.float32)
    parts = list(StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed).split(rows, y))

    def log_loss(trial: optuna.Trial) -> float:
        parameters = fixed | {name: _suggest(trial, estimator, name, span) for name, span in spans.items()}
        losses = []
        for train, test in parts:
            model = make_model(estimator, parameters, seed).train(rows[train], y[train])
            losses.append(row_log_losses(y[test], model.predict_proba(rows[test])))
        trial.set_user_attr("parameters", parameters)
        return float(np.concatenate(losses).mean())

    def report(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if progress:
            done = trial.number + 1
            progress(
                done / trials,
                f"trial {done} of {trials}: log loss {trial.value:.4f} over {folds} folds, the best so far"
                f" {study.best_value:.4f}",
            )

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({name: PARAMETERS[estimator][name].default for name in spans})
    study.optimize(log_loss, n_trials=trials, callbacks=[report])
    found: dict[str, int | float] = study.best_trial.user_attrs["parameters"]
    return found


def _check(estimator: Estimator, y: NDArray[Any], spans: Mapping[str, Span], trials: int, folds: int) -> None:
    if not spans:
        given = ", ".join(SPANS[estimator])
        raise ValueError(f"there is nothing to search: {given} of {estimator} are given; leave one out, or the search")
    if trials < 1:
        raise ValueError(f"a search needs 1 trial at least, not {trials}")
    if folds < 2:
        raise ValueError(f"a search needs 2 folds at least to judge by, not {folds}")
    fewest = int(np.bincount(y).min())
    if fewest < folds:
        raise ValueError(f"a class has {fewest} rows to train, too few for {folds} folds: set fewer folds or add rows")


def _suggest(trial: Any, estimator: Estimator, name: str, span: Span) -> int | float:
    if PARAMETERS[estimator][name].kind == "integer":
        return int(trial.suggest_int(name, span.low, span.high, log=span.by_logarithm))
    value = trial.suggest_float(name, span.low, span.high, log=span.by_logarithm)
    # As a person would type it into a configuration.
    return float(f"{value:.4g}")
