"""The report of a training for people."""

from __future__ import annotations

from pathlib import Path

from model_artifact.card import GateDecision, ModelCard


def report(card: ModelCard, store: Path) -> str:
    """Return the metrics, the gate's decision and the version, in a few lines."""
    metrics = card.metrics
    width = max(len(name) for name in card.classes)
    matrix = "\n".join(
        f"  {name:>{width}} " + " ".join(f"{count:5d}" for count in row)
        for name, row in zip(card.classes, metrics.confusion_matrix, strict=True)
    )
    folds = metrics.cross_validation
    folds_line = (
        f"{folds.folds}-fold accuracy {folds.accuracy_mean:.4f} +/- {folds.accuracy_std:.4f}\n" if folds else ""
    )
    place = "current in" if card.is_promoted else "a rejected challenger, not current, in"
    return (
        f"{card.model_name}: {card.data.train_rows} training rows, {card.data.test_rows} held-out rows\n"
        f"accuracy {metrics.accuracy:.4f}   macro F1 {metrics.macro_f1:.4f}   log loss {metrics.log_loss:.4f}\n"
        f"{folds_line}"
        f"confusion matrix (rows: true class, columns: predicted class, in the same order)\n{matrix}\n"
        f"predictor: {_predictor(card)}\n"
        f"{_decision(card.gate) if card.gate else ''}"
        f"version {card.model_version} is {place} {store}"
    )


def _predictor(card: ModelCard) -> str:
    if card.predictor == "decision table":
        return f"a decision table of {card.table_cells} cells, verified to equal XGBoost"
    return "XGBoost" if card.predictor == "xgboost" else "the coefficients of a linear model"


def _decision(gate: GateDecision) -> str:
    lines = [
        f"{comparison.metric.replace('_', ' ')} {comparison.challenger:.4f}, champion {comparison.champion:.4f}:"
        f" gain {comparison.gain:+.4f}, 95% from {comparison.low:+.4f} to {comparison.high:+.4f}"
        for comparison in gate.comparisons
    ]
    decision = "passed" if gate.passed else "promoted by force past" if gate.forced else "rejected by"
    return "".join(f"{line}\n" for line in [*lines, f"{decision} the gate. {' '.join(gate.reasons)}".strip()])
