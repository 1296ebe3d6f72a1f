"""The second step of a training: estimator, hyperparameters, split and gate."""

import math
from collections.abc import Mapping
from typing import Any

import streamlit as st

from streamlit_app.clients.training_client import Options, ParameterInfo
from streamlit_app.components.text import escape, humanise, number

ESTIMATORS = {"xgboost": "XGBoost", "random-forest": "Random forest", "logistic-regression": "Logistic regression"}
COLUMNS = 3
MOST_TRIALS = 10_000


def estimator_name(name: str) -> str:
    """As people write it."""
    return ESTIMATORS.get(name, humanise(name.replace("-", " ")))


def choose_config(options: Options) -> dict[str, Any]:
    """Draw the step; returns the configuration, without data and target."""
    st.subheader("2 · Model", anchor=False)
    defaults = options.defaults
    names = list(options.estimators)
    first = names.index(defaults["estimator"]) if defaults.get("estimator") in names else 0
    estimator = st.segmented_control(
        "Estimator", names, default=names[first], required=True, format_func=estimator_name, key="estimator"
    )
    parameters = _parameters(options, str(estimator))
    chosen = {"estimator": estimator, "parameters": parameters, **_search_and_split(defaults)}
    # What is left empty has the service's default.
    config = {name: value for name, value in chosen.items() if value is not None}
    gate = {name: value for name, value in _gate(defaults.get("gate") or {}).items() if value is not None}
    return config | {"gate": gate}


def _parameters(options: Options, estimator: str) -> dict[str, int | float]:
    """The hyperparameters that differ from the estimator's own."""
    chosen: dict[str, int | float] = {}
    with st.expander("Hyperparameters", icon=":material/tune:"):
        known = options.estimators[estimator]
        for first in range(0, len(known), COLUMNS):
            cells = st.columns(COLUMNS)
            for cell, parameter in zip(cells, known[first : first + COLUMNS], strict=False):
                with cell:
                    value = _parameter(estimator, parameter)
                if value != parameter.default:
                    chosen[parameter.name] = value
        st.caption("A search keeps the values that you change, and tries others for the rest.")
    return chosen


def _parameter(estimator: str, parameter: ParameterInfo) -> int | float:
    kind = int if parameter.integer else float

    def bound(value: float | None) -> int | float | None:
        return None if value is None else kind(value)

    value = st.number_input(
        escape(humanise(parameter.name)),
        value=kind(parameter.default),
        min_value=bound(parameter.minimum),
        max_value=bound(parameter.maximum),
        step=1 if parameter.integer else _step(parameter.default),
        format=None if parameter.integer else "%.6g",
        help=escape(parameter.help),
        key=f"parameter:{estimator}:{parameter.name}",
    )
    return kind(parameter.default if value is None else value)


def _step(default: float) -> float:
    """A tenth of the default's size."""
    return float(10.0 ** (math.floor(math.log10(abs(default))) - 1)) if default else 0.1


def _search_and_split(defaults: Mapping[str, Any]) -> dict[str, Any]:
    with st.expander("Search, split and folds", icon=":material/manage_search:"):
        search, test, folds, seed = st.columns(4)
        return {
            "search": search.number_input(
                "Trials of a search",
                0,
                MOST_TRIALS,
                int(defaults.get("search", 0)),
                key="search",
                help="So many sets of hyperparameters are tried by cross-validation before the training; 0: none.",
            ),
            "test_size": test.number_input(
                "Held-out share",
                0.05,
                0.9,
                float(defaults.get("test_size", 0.2)),
                0.05,
                key="test_size",
                help="Rows that the model does not see, by which it is judged.",
            ),
            "folds": folds.number_input(
                "Folds",
                0,
                100,
                defaults.get("folds"),
                key="folds",
                placeholder="by the table's size",
                help="Of the cross-validation; 0: none. Left empty, large tables have none.",
            ),
            "seed": seed.number_input(
                "Seed", 0, 2**32 - 1, int(defaults.get("seed", 42)), key="seed", help="The same seed, the same model."
            ),
        }


def _gate(defaults: Mapping[str, Any]) -> dict[str, Any]:
    with st.expander("Gate", icon=":material/security:"):
        st.caption(
            "What a model has to reach to become champion. It also has to beat a guess, and not to be worse than the "
            "champion on the same held-out rows by more than the tolerances."
        )
        accuracy, loss, more, most, worse = st.columns(5)
        return {
            **{name: value for name, value in defaults.items() if name == "resamples"},
            "min_accuracy": accuracy.number_input(
                "Least accuracy", 0.0, 1.0, float(defaults.get("min_accuracy", 0.0)), 0.01, key="min_accuracy"
            ),
            "max_log_loss": loss.number_input(
                "Most log loss",
                min_value=0.001,
                value=defaults.get("max_log_loss"),
                step=0.05,
                placeholder="any",
                key="max_log_loss",
            ),
            "accuracy_tolerance": more.number_input(
                "Tolerance, accuracy",
                0.0,
                1.0,
                float(defaults.get("accuracy_tolerance", 0.01)),
                0.005,
                format="%.3f",
                key="accuracy_tolerance",
            ),
            "log_loss_tolerance": most.number_input(
                "Tolerance, log loss",
                min_value=0.0,
                value=float(defaults.get("log_loss_tolerance", 0.05)),
                step=0.01,
                key="log_loss_tolerance",
            ),
            "max_worse_share": worse.number_input(
                "Most worse resamples",
                0.0,
                1.0,
                float(defaults.get("max_worse_share", 0.5)),
                0.05,
                key="max_worse_share",
                help="The largest share of bootstrap resamples in which it may be worse by more than the tolerance.",
            ),
        }


def told_in_short(config: Mapping[str, Any]) -> str:
    """A configuration in a line: "XGBoost, max_depth 3, 20 trials"."""
    parts = [estimator_name(str(config.get("estimator") or "a model"))]
    parameters = config.get("parameters")
    if isinstance(parameters, Mapping):
        parts += [f"{name} {number(value)}" for name, value in parameters.items() if isinstance(value, int | float)]
    if config.get("search"):
        parts.append(f"search of {config['search']} trials")
    return ", ".join(parts)
