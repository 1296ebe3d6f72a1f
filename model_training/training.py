"""From a table to a version in the registry: read, check, split, search, train, evaluate, write, promote."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model_artifact.card import Metrics, ModelCard
from model_artifact.errors import VersionRejected
from model_artifact.pickling import load_artifact, save_artifact
from model_artifact.store import ArtifactStore
from model_training.configuration import Configuration
from model_training.data.checks import check, folds_for, search_folds
from model_training.data.datasets import DataError, Dataset
from model_training.data.split import Rows, split
from model_training.data.table_file import columns_named
from model_training.data.table_source import read_dataset
from model_training.estimators.parameters import make_model
from model_training.evaluation import classification_metrics, cross_validate
from model_training.gate import decide
from model_training.model_card import make_card
from model_training.registry.registry import Registry
from model_training.reporter import Reporter
from model_training.trainable import TrainableClassifier

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


@dataclass(frozen=True)
class Keys:
    """The private key that signs, and the public keys whose versions are trusted."""

    sign: Ed25519PrivateKey | None = None
    public: Sequence[Ed25519PublicKey] = ()


def run_training(
    configuration: Configuration,
    store: ArtifactStore,
    registry: Registry,
    keys: Keys,
    reporter: Reporter,
    force: bool = False,
) -> ModelCard:
    """Train a version and register it; promote it if it passes the gate, or with `force`.

    Return its card, whose gate records the decision.

    Raises:
        DataError: the table cannot be read, or a check of it found an error.
        ConfigurationError: the file of units cannot be read.
        ArtifactError: the loader rejects the new version.
        RegistryError: the registry cannot be reached or written.
        OSError: the store cannot be written.
    """
    # Fail now, not after an hour of training.
    registry.champion_version()
    (store.root / "versions").mkdir(parents=True, exist_ok=True)
    reporter.progress("read", 0.0, f"reading {configuration.data}")
    dataset = read_dataset(configuration)
    reporter.progress("check", 0.05, f"checking {len(dataset.y):,} rows")
    findings = check(dataset, configuration)
    for warning in findings.warnings:
        reporter.warning(warning)
    if findings.errors:
        raise DataError(*findings.errors)
    train, test = split(dataset, configuration.test_size, configuration.seed)
    _check_training_rows(dataset, train)
    parameters = _search(configuration, dataset, train, reporter)
    folds = folds_for(configuration, len(dataset.y))
    begin, done = (0.5 if configuration.search else 0.1), itertools.count(1)

    def fresh_model() -> TrainableClassifier:
        return make_model(configuration.estimator, parameters, configuration.seed)

    def fold_model() -> TrainableClassifier:
        fold = next(done)
        reporter.progress("evaluate", 0.7 + 0.2 * (fold - 1) / folds, f"cross-validation, fold {fold} of {folds}")
        return fresh_model()

    def trained(share: float) -> None:
        reporter.progress("train", begin + (0.7 - begin) * share, f"training {configuration.estimator}, {share:.0%}")

    reporter.progress("train", begin, f"training {configuration.estimator} on {len(train):,} rows")
    model = train_model(fresh_model, dataset, train, trained)
    reporter.progress("evaluate", 0.7, f"evaluating it on {len(test):,} held-out rows")
    probabilities = model.predict_proba(_rows(dataset, test))
    metrics = _metrics(fold_model, dataset, test, probabilities, folds, configuration.seed)
    reporter.progress("gate", 0.9, "comparing it with the champion")
    with store.gate_lock():
        champion, note = _champion_answers(registry, dataset, _rows(dataset, test), configuration)
        gate = decide(
            configuration.gate,
            dataset.y[test],
            probabilities,
            shares=np.bincount(dataset.y[train], minlength=len(dataset.classes)) / len(train),
            champion=champion,
            note=note,
            seed=configuration.seed,
            forced=force,
        )
        reporter.progress("register", 0.95, "writing the version")
        card = make_card(
            model,
            dataset,
            train,
            metrics,
            test_size=configuration.test_size,
            seed=configuration.seed,
            warnings=findings.warnings,
            gate=gate,
        )
        card = write_version(store, model, card, keys)
        registry.register(card)
        if card.is_promoted:
            registry.promote(card.model_version)
    return card


def train_version(
    dataset: Dataset,
    make_model: Callable[[], TrainableClassifier],
    store: ArtifactStore,
    test_size: float,
    seed: int,
    sign_key: Ed25519PrivateKey | None = None,
) -> ModelCard:
    """Train any model on any table and make the version current, without checks and without a gate.

    Raises:
        DataError: too few rows for the split.
        ValueError: too few rows for cross-validation.
        ArtifactError: the version exists, or the loader rejects it.
    """
    train, test = split(dataset, test_size, seed)
    model = train_model(make_model, dataset, train)
    metrics = _metrics(
        make_model,
        dataset,
        test,
        model.predict_proba(_rows(dataset, test)),
        folds_for(Configuration(), len(dataset.y)),
        seed,
    )
    card = make_card(model, dataset, train, metrics, test_size=test_size, seed=seed)
    card = write_version(store, model, card, Keys(sign_key))
    store.activate(card.model_version)
    return card


def train_model(
    make_model: Callable[[], TrainableClassifier],
    dataset: Dataset,
    train: Rows,
    progress: Callable[[float], None] | None = None,
) -> TrainableClassifier:
    """Return a model of the training rows, as the API will serve it."""
    model = make_model().train(_rows(dataset, train), dataset.y[train], progress)
    model.specialise()
    return model


def write_version(store: ArtifactStore, model: TrainableClassifier, card: ModelCard, keys: Keys) -> ModelCard:
    """Write the model and its card into the store and load them; return the card with the pickle's digest.

    Raises:
        ArtifactError: the version exists, or the loader rejects it.
    """
    with store.new_version(card.model_version) as folder:
        card = save_artifact(folder, model, card, keys.sign)
        # A version that the API would reject must not become champion.
        load_artifact(folder, card.model_version, [keys.sign.public_key()] if keys.sign else ())
    return card


def _check_training_rows(dataset: Dataset, train: Rows) -> None:
    """
    Raises:
        DataError: all values of a column are in held-out rows, so that its range is unknown.
    """
    empty = [column.name for index, column in enumerate(dataset.columns) if np.isnan(dataset.X[:, index][train]).all()]
    if empty:
        raise DataError(
            f"{columns_named(empty, 'has', 'have')} no value in the training rows, only in held-out ones; ignore such"
            " columns."
        )


def _rows(dataset: Dataset, chosen: Rows) -> NDArray[np.float32]:
    """Return some rows in float32, copied by column: a copy of them in double precision takes too much memory."""
    rows = np.empty((len(chosen), len(dataset.columns)), dtype=np.float32)
    for index in range(rows.shape[1]):
        rows[:, index] = dataset.X[chosen, index]
    return rows


def _search(configuration: Configuration, dataset: Dataset, train: Rows, reporter: Reporter) -> dict[str, int | float]:
    """Return the given parameters, and the others as the search found them."""
    if not configuration.search:
        return configuration.parameters
    # Imports Optuna, which takes half a second.
    from model_training.search import search_parameters

    reporter.progress("search", 0.1, f"searching for parameters in {configuration.search} trials")
    return search_parameters(
        configuration.estimator,
        _rows(dataset, train),
        dataset.y[train],
        fixed=configuration.parameters,
        trials=configuration.search,
        folds=search_folds(configuration),
        seed=configuration.seed,
        progress=lambda share, text: reporter.progress("search", 0.1 + 0.4 * share, text),
    )


def _metrics(
    make_model: Callable[[], TrainableClassifier],
    dataset: Dataset,
    test: Rows,
    probabilities: NDArray[np.float32],
    folds: int,
    seed: int,
) -> Metrics:
    return Metrics(
        **classification_metrics(dataset.y[test], probabilities),
        cross_validation=cross_validate(make_model, dataset.X, dataset.y, folds, seed) if folds else None,
    )


def _champion_answers(
    registry: Registry, dataset: Dataset, rows: NDArray[np.float32], configuration: Configuration
) -> tuple[tuple[str, NDArray[np.float32]] | None, str | None]:
    """Return the champion's version and probabilities for the rows, or None; and a note: the reason, or a caveat."""
    try:
        champion = registry.champion()
    except VersionRejected as error:
        # No API serves it, so it must not block a good new model.
        return None, f"The champion cannot be compared with: {error}"
    if champion is None:
        return None, None
    card = champion.card
    columns = [column.name for column in dataset.columns]
    if [feature.name for feature in card.features] != columns or card.classes != list(dataset.classes):
        return None, (
            f"The champion {card.model_version} is of another table ({card.model_name}, with other features or"
            " classes), so there is nothing to compare."
        )
    if card.estimator == "logistic-regression" and np.isnan(rows).any():
        return None, f"The champion {card.model_version} accepts no missing values, so there is nothing to compare."
    note = None
    if (card.data.seed, card.data.test_size) != (configuration.seed, configuration.test_size):
        note = (
            f"The champion {card.model_version} was trained with another seed or test_size ({card.data.seed},"
            f" {card.data.test_size:g}), so it was trained on many of these rows, which favours it."
        )
    return (card.model_version, champion.model.predict_proba(rows)), note
