"""The second step of a training: estimator, hyperparameters, evaluation and promotion gate."""

import math
from collections.abc import Mapping
from typing import Any

import streamlit as st

from streamlit_app.clients.training_answers import ParameterInfo, TrainingOptions
from streamlit_app.components.text import escape, estimator_name, humanise, number

COLUMNS = 3
MAX_TRIALS = 10_000
HELP = {
    "search": "Sets of hyperparameters to compare by cross-validation before the training. 0: no search.",
    "test_size": "The model is not trained on these rows but evaluated on them.",
    "folds": "0: no cross-validation. Empty: none for large tables.",
    "seed": "The same seed and data give the same model.",
    "max_worse_share": "Of the bootstrap resamples of the test rows, the share in which the model may be worse than "
    "the serving one by more than the tolerance.",
}


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
        draw = _Settings(defaults, columns=4)
        draw.setting("search", "Search trials", 0, 0, MAX_TRIALS)
        draw.setting("test_size", "Share of test rows", 0.2, 0.05, 0.9, 0.05)
        draw.setting("folds", "Cross-validation folds", None, 0, 100, placeholder="automatic")
        draw.setting("seed", "Random seed", 42, 0, 2**32 - 1)
    return draw.chosen


def _gate(defaults: Mapping[str, Any]) -> dict[str, Any]:
    with st.expander("Promotion gate", icon=":material/security:"):
        st.caption(
            "A model must reach these values to be promoted. It must also be better than the majority-class baseline, "
            "and on the same test rows not worse than the serving model by more than the tolerances."
        )
        draw = _Settings(defaults, columns=5)
        draw.setting("min_accuracy", "Minimum accuracy", 0.0, 0.0, 1.0, 0.01)
        draw.setting("max_log_loss", "Maximum log loss", None, 0.001, None, 0.05, placeholder="any")
        draw.setting("accuracy_tolerance", "Accuracy tolerance", 0.01, 0.0, 1.0, 0.005, format="%.3f")
        draw.setting("log_loss_tolerance", "Log loss tolerance", 0.05, 0.0, None, 0.01)
        draw.setting("max_worse_share", "Maximum share of worse resamples", 0.5, 0.0, 1.0, 0.05)
    return {name: value for name, value in defaults.items() if name == "resamples"} | draw.chosen


class _Settings:
    """Number inputs beside each other; `chosen` has their values by the settings' names."""

    def __init__(self, defaults: Mapping[str, Any], columns: int) -> None:
        self._defaults = defaults
        self._cells = iter(st.columns(columns))
        self.chosen: dict[str, int | float | None] = {}

    def setting(
        self,
        name: str,
        label: str,
        fallback: float | None,
        minimum: float,
        maximum: float | None,
        step: float | None = None,
        **more: str,
    ) -> None:
        """Draw the next input, with the service's default; `fallback` if it names none. Its type is the input's."""
        value = self._defaults.get(name, fallback)
        start = value if fallback is None else type(fallback)(value)
        cell: Any = next(self._cells)
        self.chosen[name] = cell.number_input(
            label, minimum, maximum, start, step, key=name, help=HELP.get(name), **more
        )


def summarise(config: Mapping[str, Any]) -> str:
    """Return a configuration as a line: "XGBoost, max_depth 3, search with 20 trials"."""
    parts = [estimator_name(str(config.get("estimator") or "unknown estimator"))]
    parameters = config.get("parameters")
    if isinstance(parameters, Mapping):
        parts += [f"{name} {number(value)}" for name, value in parameters.items() if isinstance(value, int | float)]
    if config.get("search"):
        parts.append(f"search with {config['search']} trials")
    return ", ".join(parts)
