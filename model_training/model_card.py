"""Make the card of a newly trained model."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_artifact.card import CARD_FORMAT, DataSummary, Feature, GateDecision, GoldenRow, Metrics, ModelCard
from model_artifact.pickling import describe_pickle
from model_artifact.predictors.classifier import Classifier
from model_training.data.datasets import Dataset
from model_training.trainable import TrainableClassifier

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_PACKAGES = ("xgboost", "numpy", "scikit-learn")
# Enough rows of a large table to choose golden rows from.
_MAX_GOLDEN_CANDIDATES = 10_000


def make_card(
    model: TrainableClassifier,
    dataset: Dataset,
    train: NDArray[np.intp],
    metrics: Metrics,
    *,
    test_size: float,
    seed: int,
    warnings: tuple[str, ...] = (),
    gate: GateDecision | None = None,
) -> ModelCard:
    """Return a card with a new version's name and an empty entry for the pickle; train: indices of training rows."""
    trained_at = datetime.now(UTC)
    return ModelCard(
        card_format=CARD_FORMAT,
        model_name=dataset.name,
        model_version=trained_at.strftime("%Y%m%d-%H%M%S-") + os.urandom(4).hex(),
        trained_at=trained_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        features=describe_features(dataset, train),
        classes=list(dataset.classes),
        metrics=metrics,
        feature_importance={
            column.name: float(share) for column, share in zip(dataset.columns, model.importance(), strict=True)
        },
        data=DataSummary(
            name=dataset.name,
            rows=len(dataset.y),
            train_rows=len(train),
            test_rows=len(dataset.y) - len(train),
            test_size=test_size,
            seed=seed,
            sha256=dataset.sha256,
            warnings=list(warnings),
        ),
        golden_rows=golden_rows(model, dataset),
        git_commit=git_commit(),
        packages={"python": platform.python_version(), **{name: _package_version(name) for name in _PACKAGES}},
        artifact=describe_pickle(b""),
        picture=dataset.picture,
        gate=gate,
        **model.card_fields(),
    )


def describe_features(dataset: Dataset, rows: NDArray[np.intp]) -> list[Feature]:
    """Return name, unit, range and quantiles of each column over the given rows, without missing values."""
    features = []
    for index, column in enumerate(dataset.columns):
        values = dataset.X[rows, index]
        values = values[~np.isnan(values)]
        features.append(
            Feature(
                name=column.name,
                unit=column.unit,
                dtype=column.dtype,
                minimum=float(values.min()),
                maximum=float(values.max()),
                quantiles={
                    str(q): float(value) for q, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
                },
            )
        )
    return features


def golden_rows(model: Classifier, dataset: Dataset) -> list[GoldenRow]:
    """Return the row with the highest probability for each class: examples for people, and a check for the loader.

    If no row is complete, the column's median replaces each missing value, because a card holds no NaN.
    """
    rows = dataset.X[np.flatnonzero(~np.isnan(dataset.X).any(axis=1))[:_MAX_GOLDEN_CANDIDATES]]
    if not len(rows):
        rows = dataset.X[:_MAX_GOLDEN_CANDIDATES]
        rows = np.where(np.isnan(rows), np.nanmedian(dataset.X, axis=0), rows)
    probabilities = model.predict_proba(rows)
    chosen = probabilities.argmax(axis=0)
    return [
        GoldenRow(features=rows[row].tolist(), probabilities=probabilities[row].astype(float).tolist())
        for row in chosen
    ]


def git_commit() -> str:
    """Return the commit of this code: GIT_COMMIT (an image has no repository), else from git, else "unknown"."""
    named = os.environ.get("GIT_COMMIT")
    if named:
        return named
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()


def _package_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        # The CPU build of XGBoost is another distribution of the package.
        return metadata.version(f"{name}-cpu")
