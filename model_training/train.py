"""Train a model, judge it on held-out rows, write it into the store and make it current.

python -m model_training.train --help
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from sklearn.model_selection import train_test_split

from model_training.artifact import ArtifactError, describe_pickle, load_artifact, save_artifact
from model_training.data_loader import DATASETS, Dataset
from model_training.decision_table import TableError
from model_training.evaluation import cross_validate
from model_training.model import HYPERPARAMETERS, IrisModel
from model_training.schema import CARD_FORMAT, DataSummary, Feature, GoldenRow, Metrics, ModelCard
from model_training.signing import SigningError, read_private_key
from model_training.store import ArtifactStore

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CROSS_VALIDATION_FOLDS = 5
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_Number = TypeVar("_Number", int, float)
_PACKAGES = ("xgboost", "numpy", "scikit-learn")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(argv)
    try:
        sign_key = read_private_key(Path(options.sign_key)) if options.sign_key else None
    except SigningError as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    dataset = DATASETS[options.data]()
    try:
        card = train_version(
            dataset,
            make_model=lambda: IrisModel(**{name: getattr(options, name) for name in HYPERPARAMETERS}),
            store=ArtifactStore(options.store),
            test_size=options.test_size,
            seed=options.random_state,
            sign_key=sign_key,
        )
    except (ArtifactError, ValueError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"train: cannot write to {options.store}: {error.strerror}; choose another --store", file=sys.stderr)
        return 1
    print(report(card, Path(options.store)) + (", signed" if sign_key else ""))
    return 0


def train_version(
    dataset: Dataset,
    make_model: Callable[[], IrisModel],
    store: ArtifactStore,
    test_size: float,
    seed: int,
    sign_key: Ed25519PrivateKey | None = None,
) -> ModelCard:
    """Train on a stratified part of the data, write a version into the store and make it current.

    test_size is the share of rows held out, between 0 and 1; with sign_key the version is signed.

    Raises:
        ValueError: too few rows for the split or for cross-validation.
        ArtifactError: the version exists, or what was written does not pass the loader.
    """
    train, test = train_test_split(
        np.arange(len(dataset.y)), test_size=test_size, random_state=seed, stratify=dataset.y
    )
    model = make_model().train(dataset.X[train], dataset.y[train])
    # Too many cells, or no proof: then XGBoost serves, and the card says so.
    with suppress(TableError):
        model.tabulate()
    metrics = Metrics(
        **model.evaluate(dataset.X[test], dataset.y[test]),
        cross_validation=cross_validate(make_model, dataset.X, dataset.y, CROSS_VALIDATION_FOLDS, seed),
    )
    trained_at = datetime.now(UTC)
    card = ModelCard(
        card_format=CARD_FORMAT,
        model_name=dataset.name,
        model_version=trained_at.strftime("%Y%m%d-%H%M%S-") + os.urandom(4).hex(),
        trained_at=trained_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        features=describe_features(dataset, train),
        classes=list(dataset.classes),
        hyperparameters=dict(model.hyperparameters),
        metrics=metrics,
        feature_importance=feature_importance(model, dataset),
        data=DataSummary(
            name=dataset.name,
            rows=len(dataset.y),
            train_rows=len(train),
            test_rows=len(test),
            test_size=test_size,
            seed=seed,
            sha256=dataset.sha256,
        ),
        golden_rows=golden_rows(model, dataset),
        git_commit=git_commit(),
        packages={"python": platform.python_version(), **{name: _package_version(name) for name in _PACKAGES}},
        artifact=describe_pickle(b""),
        predictor=model.predictor,
        table_cells=model.table_cells,
    )
    with store.new_version(card.model_version) as folder:
        card = save_artifact(folder, model, card, sign_key)
        # What the API would refuse must not become current.
        load_artifact(folder, card.model_version, [sign_key.public_key()] if sign_key else ())
    store.activate(card.model_version)
    return card


def describe_features(dataset: Dataset, rows: np.ndarray) -> list[Feature]:
    """Name, unit, range and quantiles of each column over the given rows."""
    features = []
    for index, column in enumerate(dataset.columns):
        values = dataset.X[rows, index]
        features.append(
            Feature(
                name=column.name,
                unit=column.unit,
                dtype=column.dtype,
                minimum=float(values.min()),
                maximum=float(values.max()),
                quantiles={str(q): float(np.quantile(values, q)) for q in QUANTILES},
            )
        )
    return features


def feature_importance(model: IrisModel, dataset: Dataset) -> dict[str, float]:
    """Each feature's share of the total gain of all splits; a feature that no tree uses has 0."""
    gains = model.booster.get_score(importance_type="total_gain")
    values = [float(np.sum(gains.get(f"f{index}", 0.0))) for index in range(len(dataset.columns))]
    total = sum(values) or 1.0
    return {column.name: value / total for column, value in zip(dataset.columns, values, strict=True)}


def golden_rows(model: IrisModel, dataset: Dataset) -> list[GoldenRow]:
    """For each class the row that the model is surest of: examples for people, and a proof for the loader."""
    probabilities = model.predict_proba(dataset.X)
    chosen = probabilities.argmax(axis=0)
    return [
        GoldenRow(features=dataset.X[row].tolist(), probabilities=probabilities[row].astype(float).tolist())
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


def report(card: ModelCard, store: Path) -> str:
    """What a person wants to know after training, in a few lines."""
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
    return (
        f"{card.model_name}: {card.data.train_rows} rows to train, {card.data.test_rows} held out\n"
        f"accuracy {metrics.accuracy:.4f}   macro F1 {metrics.macro_f1:.4f}   log loss {metrics.log_loss:.4f}\n"
        f"{folds_line}"
        f"confusion matrix (row: true class, column: predicted, in the same order)\n{matrix}\n"
        f"answers come from {_predictor(card)}\n"
        f"version {card.model_version} is current in {store}"
    )


def _predictor(card: ModelCard) -> str:
    if card.predictor == "xgboost":
        return "XGBoost"
    return f"a decision table of {card.table_cells} cells, proved to equal XGBoost"


def _package_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        # The CPU build of XGBoost is another distribution of the same package.
        return metadata.version(f"{name}-cpu")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model_training.train",
        description="Train a classifier, judge it on held-out rows, write it into the store and make it current.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", choices=sorted(DATASETS), default="iris", help="the data set")
    parser.add_argument(
        "--store",
        default=os.environ.get("MODEL_STORE") or "artifacts",
        help="folder of the artifact store (the environment's MODEL_STORE, if set)",
    )
    parser.add_argument(
        "--sign-key",
        metavar="FILE",
        default=os.environ.get("MODEL_SIGN_KEY") or None,
        help="private key to sign the version with (the environment's MODEL_SIGN_KEY, if set)",
    )
    parser.add_argument("--n-estimators", type=_positive_int, default=100, help="rounds of boosting")
    parser.add_argument("--max-depth", type=_positive_int, default=4, help="depth of a tree")
    parser.add_argument("--learning-rate", type=_share, default=0.1, help="shrinkage of each round, above 0 up to 1")
    parser.add_argument("--subsample", type=_share, default=0.8, help="share of rows for each tree, above 0 up to 1")
    parser.add_argument(
        "--colsample-bytree", type=_share, default=0.8, help="share of columns for each tree, above 0 up to 1"
    )
    parser.add_argument(
        "--test-size", type=_open_share, default=0.2, help="share of rows held out, above 0 and below 1"
    )
    parser.add_argument(
        "--seed", dest="random_state", type=_seed, default=42, help="seed of the split, the folds and the trees"
    )
    return parser


def _number(kind: Callable[[str], _Number], text: str) -> _Number:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a {'whole ' * (kind is int)}number") from None


def _positive_int(text: str) -> int:
    value = _number(int, text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _seed(text: str) -> int:
    value = _number(int, text)
    # scikit-learn's bound.
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 4294967295")
    return value


def _share(text: str) -> float:
    value = _number(float, text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to 1")
    return value


def _open_share(text: str) -> float:
    value = _number(float, text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and below 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
