"""The second step of a training: estimator, hyperparameters, evaluation and promotion gate."""

import math
from collections.abc import Mapping
from typing import Any

import streamlit as st

from streamlit_app.clients.training_answers import ParameterInfo, TrainingOptions
from streamlit_app.components.text import escape, estimator_name, humanise, number

COLUMNS = 3
MAX_TRIALS = 10_000


def choose_config(options: TrainingOptions) -> dict[str, Any]:
    """Draw the step; return the configuration without data and target."""
    st.subheader("2 · Model", anchor=False)
    defaults = options.defaults
    names = list(options.estimators)
    first = names.index(defaults["estimator"]) if defaults.get("estimator") in names else 0
    estimator = st.segmented_control(
        "Estimator",
        names,
        default=names[first],
        required=True,
        format_func=estimator_name,
        key="estimator",
        help="The learning algorithm.",
    )
    parameters = _parameters(options, str(estimator))
    chosen = {"estimator": estimator, "parameters": parameters, **_search_and_evaluation(defaults)}
    gate = _gate(defaults.get("gate") or {})
    # The service has defaults for empty fields.
    return _without_none(chosen) | {"gate": _without_none(gate)}


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _parameters(options: TrainingOptions, estimator: str) -> dict[str, int | float]:
    """Return the hyperparameters that differ from the estimator's defaults."""
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
        st.caption("A search keeps the values that you change and tries others for the remaining parameters.")
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
    """Return a tenth of the default's order of magnitude."""
    return float(10.0 ** (math.floor(math.log10(abs(default))) - 1)) if default else 0.1


def _search_and_evaluation(defaults: Mapping[str, Any]) -> dict[str, Any]:
    with st.expander("Search and evaluation", icon=":material/manage_search:"):
        search, test, folds, seed = st.columns(4)
        return {
            "search": search.number_input(
                "Search trials",
                0,
                MAX_TRIALS,
                int(defaults.get("search", 0)),
                key="search",
                help="Sets of hyperparameters to compare by cross-validation before the training. 0: no search.",
            ),
            "test_size": test.number_input(
                "Share of test rows",
                0.05,
                0.9,
                float(defaults.get("test_size", 0.2)),
                0.05,
                key="test_size",
                help="The model is not trained on these rows but evaluated on them.",
            ),
            "folds": folds.number_input(
                "Cross-validation folds",
                0,
                100,
                defaults.get("folds"),
                key="folds",
                placeholder="automatic",
                help="0: no cross-validation. Empty: none for large tables.",
            ),
            "seed": seed.number_input(
                "Random seed",
                0,
                2**32 - 1,
                int(defaults.get("seed", 42)),
                key="seed",
                help="The same seed and data give the same model.",
            ),
        }


def _gate(defaults: Mapping[str, Any]) -> dict[str, Any]:
    with st.expander("Promotion gate", icon=":material/security:"):
        st.caption(
            "A model must reach these values to be promoted. It must also be better than the majority-class baseline, "
            "and on the same test rows not worse than the serving model by more than the tolerances."
        )
        accuracy, loss, accuracy_loss, loss_gain, worse = st.columns(5)
        return {
            **{name: value for name, value in defaults.items() if name == "resamples"},
            "min_accuracy": accuracy.number_input(
                "Minimum accuracy", 0.0, 1.0, float(defaults.get("min_accuracy", 0.0)), 0.01, key="min_accuracy"
            ),
            "max_log_loss": loss.number_input(
                "Maximum log loss",
                min_value=0.001,
                value=defaults.get("max_log_loss"),
                step=0.05,
                placeholder="any",
                key="max_log_loss",
            ),
            "accuracy_tolerance": accuracy_loss.number_input(
                "Accuracy tolerance",
                0.0,
                1.0,
                float(defaults.get("accuracy_tolerance", 0.01)),
                0.005,
                format="%.3f",
                key="accuracy_tolerance",
            ),
            "log_loss_tolerance": loss_gain.number_input(
                "Log loss tolerance",
                min_value=0.0,
                value=float(defaults.get("log_loss_tolerance", 0.05)),
                step=0.01,
                key="log_loss_tolerance",
            ),
            "max_worse_share": worse.number_input(
                "Maximum share of worse resamples",
                0.0,
                1.0,
                float(defaults.get("max_worse_share", 0.5)),
                0.05,
                key="max_worse_share",
                help="Of the bootstrap resamples of the test rows, the share in which the model may be worse than the "
                "serving one by more than the tolerance.",
            ),
        }


def summarise(config: Mapping[str, Any]) -> str:
    """Return a configuration as a line: "XGBoost, max_depth 3, search with 20 trials"."""
    parts = [estimator_name(str(config.get("estimator") or "unknown estimator"))]
    parameters = config.get("parameters")
    if isinstance(parameters, Mapping):
        parts += [f"{name} {number(value)}" for name, value in parameters.items() if isinstance(value, int | float)]
    if config.get("search"):
        parts.append(f"search with {config['search']} trials")
    return ", ".join(parts)
