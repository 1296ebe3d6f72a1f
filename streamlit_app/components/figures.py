"""The metrics of a model card with their baselines, and how figures are shown."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from streamlit_app.clients.json_values import mapping, number_or_none
from streamlit_app.components.charts import confusion_chart, confusion_words
from streamlit_app.components.text import escape, humanise, shorten

MAX_CONFUSION_WORDS = 400

NAMES = {"macro_f1": "Macro F1", "roc_auc": "ROC AUC"}
HELP = {
    "accuracy": "Share of the test rows whose class is predicted correctly. The baseline always predicts the most "
    "common class.",
    "macro_f1": "F1 score, averaged over the classes: 1 is best, 0 is worst.",
    "log_loss": "Penalty for wrong and for uncertain probabilities: 0 is best. The baseline predicts each class with "
    "its share of the test rows.",
    "roc_auc": "1 is best, 0.5 is chance.",
}


@dataclass(frozen=True)
class Figure:
    """A figure as text, with the baseline to compare it with and an explanation."""

    value: str
    baseline: str = ""
    help: str | None = None


def show_figures(figures: Mapping[str, str | Figure]) -> None:
    """Draw figures with their names, beside each other as far as there is room."""
    with st.container(horizontal=True, gap="medium"):
        for name, given in figures.items():
            figure = given if isinstance(given, Figure) else Figure(given)
            baseline = f"baseline {figure.baseline}" if figure.baseline else None
            st.metric(
                escape(name),
                figure.value,
                baseline,
                delta_color="off",
                delta_arrow="off",
                help=figure.help,
                width="content",
            )


def figures_of(card: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the card's metrics by their names, without those that are not numbers."""
    metrics = mapping(card.get("metrics"))
    matrix, _ = matrix_of(card)
    baselines = _baselines([sum(line) for line in matrix])
    figures = {
        NAMES.get(name, humanise(name)): Figure(_shown(name, value), baselines.get(name, ""), HELP.get(name))
        for name, raw in metrics.items()
        if (value := number_or_none(raw)) is not None
    }
    folds = mapping(metrics.get("cross_validation"))
    if (mean := number_or_none(folds.get("accuracy_mean"))) is not None:
        deviation = number_or_none(folds.get("accuracy_std"))
        figures[f"Cross-validated accuracy ({folds.get('folds', 'several')} folds)"] = Figure(
            f"{mean:.1%}" + ("" if deviation is None else f" ± {deviation:.1%}"),
            help="Mean and standard deviation over the folds, each predicted by a model trained on the others.",
        )
    return figures


def show_confusion(card: Mapping[str, Any], key: str, theme: str) -> None:
    """Draw the confusion matrix, if the card has a valid one."""
    matrix, classes = matrix_of(card)
    if matrix:
        words = confusion_words(matrix, classes)
        st.altair_chart(confusion_chart(matrix, classes, theme), alt=words, key=key)
        st.caption(escape(shorten(words, MAX_CONFUSION_WORDS)))


def class_shares(card: Mapping[str, Any]) -> dict[str, float]:
    """Return each class's share of the test rows; empty without a confusion matrix."""
    matrix, classes = matrix_of(card)
    total = sum(map(sum, matrix))
    return {name: sum(line) / total for name, line in zip(classes, matrix, strict=True)} if total else {}


def matrix_of(card: Mapping[str, Any]) -> tuple[list[list[int]], list[str]]:
    """Return the confusion matrix and the classes; both empty if the card has no valid one."""
    matrix, classes = mapping(card.get("metrics")).get("confusion_matrix"), card.get("classes")
    if not isinstance(classes, list) or not isinstance(matrix, list) or len(matrix) != len(classes):
        return [], []
    if not all(isinstance(line, list) and len(line) == len(classes) for line in matrix):
        return [], []
    if not all(isinstance(count, int) for line in matrix for count in line):
        return [], []
    return matrix, [str(name) for name in classes]


def _baselines(rows: list[int]) -> dict[str, str]:
    """Return the metrics of the majority-class baseline, and of the classes' shares as probabilities."""
    total = sum(rows)
    if not total:
        return {}
    shares = [count / total for count in rows if count]
    loss = -sum(share * math.log(share) for share in shares)
    return {"accuracy": _shown("accuracy", max(shares)), "log_loss": _shown("log_loss", loss)}


def _shown(name: str, value: float) -> str:
    return f"{value:.1%}" if name == "accuracy" else f"{value:.3f}"
