"""Figures of a model's card, as every page that shows one has them."""

from collections.abc import Mapping
from typing import Any

from streamlit_app.components.text import humanise

NAMES = {"macro_f1": "Macro F1", "roc_auc": "ROC AUC"}


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def figures(metrics: Any) -> dict[str, str]:
    """The metrics by their names, as text; those that are no number are left out."""
    told = mapping(metrics)
    shown = {
        NAMES.get(name, humanise(name)): f"{value:.1%}" if 0 <= value <= 1 and "loss" not in name else f"{value:.3f}"
        for name, value in told.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    folds = mapping(told.get("cross_validation"))
    if isinstance(folds.get("accuracy_mean"), float):
        spread = f" ± {folds['accuracy_std']:.1%}" if isinstance(folds.get("accuracy_std"), float) else ""
        shown[f"Accuracy over {folds.get('folds', 'several')} folds"] = f"{folds['accuracy_mean']:.1%}{spread}"
    return shown


def matrix_of(card: Mapping[str, Any]) -> tuple[list[list[int]], list[str]]:
    """The confusion matrix and the classes; both empty where the card has none that fits."""
    matrix, classes = mapping(card.get("metrics")).get("confusion_matrix"), card.get("classes")
    if not isinstance(classes, list) or not isinstance(matrix, list) or len(matrix) != len(classes):
        return [], []
    if not all(isinstance(line, list) and len(line) == len(classes) for line in matrix):
        return [], []
    if not all(isinstance(count, int) for line in matrix for count in line):
        return [], []
    return matrix, [str(name) for name in classes]
