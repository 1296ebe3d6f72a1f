"""Fill in the card of a freshly trained model."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_artifact.card import CARD_FORMAT, DataSummary, Feature, Gate, GoldenRow, Metrics, ModelCard
from model_artifact.pickling import describe_pickle
from model_artifact.predictors.classifier import Classifier
from model_training.data.datasets import Dataset

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_PACKAGES = ("xgboost", "numpy", "scikit-learn")
# Of a large table the first so many complete rows are asked for golden ones: they are as good as any.
_GOLDEN_CANDIDATES = 10_000


def make_card(
    model: Classifier,
    dataset: Dataset,
    train: NDArray[np.intp],
    metrics: Metrics,
    *,
    test_size: float,
    seed: int,
    warnings: tuple[str, ...] = (),
    gate: Gate | None = None,
) -> ModelCard:
    """The card, with a new version's name and nothing yet about the pickle; train: indices of the training rows."""
    trained_at = datetime.now(UTC)
    return ModelCard(
        card_format=CARD_FORMAT,
        model_name=dataset.name,
        model_version=trained_at.strftime("%Y%m%d-%H%M%S-") + os.urandom(4).hex(),
        trained_at=trained_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        features=describe_features(dataset, train),
        classes=list(dataset.classes),
        hyperparameters=dict(model.hyperparameters),
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
        estimator=model.estimator,
        predictor=model.predictor,
        table_cells=model.table_cells,
        picture=dataset.picture,
        gate=gate,
    )


def describe_features(dataset: Dataset, rows: NDArray[np.intp]) -> list[Feature]:
    """Name, unit, range and quantiles of each column over the given rows; missing values are passed over."""
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
    """For each class the row that the model is surest of: examples for people, and a proof for the loader.

    Missing values are filled with their column's median where no row is complete: a card holds no NaN.
    """
    rows = dataset.X[np.flatnonzero(~np.isnan(dataset.X).any(axis=1))[:_GOLDEN_CANDIDATES]]
    if not len(rows):
        rows = dataset.X[:_GOLDEN_CANDIDATES]
        rows = np.where(np.isnan(rows), np.nanmedian(dataset.X, axis=0), rows)
    probabilities = model.predict_proba(rows)
    chosen = probabilities.argmax(axis=0)
    return [
        GoldenRow(features=rows[row].tolist(), probabilities=probabilities[row].astype(float).tolist())
        for row in chosen
    ]


def git_commit() -> str:
    """The commit that trains: from GIT_COMMIT (an image is built without a repository), else from git, else unknown."""
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
        # The CPU build of XGBoost is another distribution of the same package.
        return metadata.version(f"{name}-cpu")
