"""MLflow as the registry: a run and a version of the registered model for each version of the store.

The files of a version become artifacts of its run unchanged, so that the loader can verify them after a download. The
API follows the alias `champion` (registry_follower.py); the pointer of the store is set to the same version.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from requests import RequestException

from model_artifact.card import ModelCard
from model_artifact.errors import ArtifactError, RegistryError, RegistryNotFoundError, VersionRejected
from model_artifact.mlflow.client import one_line
from model_artifact.mlflow.registered_model import (
    CARD_FILES,
    CHALLENGER,
    CHAMPION,
    FILES,
    HISTORY_TAG,
    LAST_TRAINING_TAG,
    VERSION_TAG,
    MlflowModel,
    ModelVersion,
    RegisteredModel,
    artifact_path,
)
from model_artifact.pickling import Artifact, read_card
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord
from model_training.registry import plots

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MODEL_FOLDER = "model"
CONFUSION_MATRIX_FILE = "confusion_matrix.svg"
ACCURACY_FILE = "accuracy_over_time.svg"

# Roll-backs in a row, as in a store.
_MAX_HISTORY = 100
# A larger confusion matrix is illegible.
_MAX_CLASSES = 50
# Versions in the plot of the accuracy over time.
_MAX_POINTS = 200
# MLflow's limit.
_MAX_DIGEST_CHARACTERS = 36

# It warns of each retry; the error reports the last one.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


class MlflowRegistry:
    """See `registry.Registry`; reads go through the API's own client, which has shorter timeouts."""

    def __init__(
        self, store: ArtifactStore, public_keys: Sequence[Ed25519PublicKey], environ: Mapping[str, str]
    ) -> None:
        """
        Raises:
            RegistryError: one of MLflow's variables is invalid.
        """
        self._store = store
        self._public_keys = public_keys
        self._model = MlflowModel.from_environ(environ)
        uri = environ["MLFLOW_TRACKING_URI"].strip()
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        # Cards of versions that are not in the store, by number and name: a download takes 40 ms.
        self._cards: dict[tuple[str, str], ModelCard] = {}
        self._experiment = environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or self._model.name

    def champion(self) -> Artifact | None:
        number = self._model.read().alias(CHAMPION)
        return None if number is None else self._verified(self._model.version(number))

    def champion_version(self) -> str | None:
        number = self._model.read().alias(CHAMPION)
        return None if number is None else self._model.version(number).version_name

    def register(self, card: ModelCard) -> None:
        found = self._find(card.model_version)
        with self._writing():
            number = found.version if found else self._register(card)
            self._client.set_registered_model_alias(self._model.name, CHALLENGER, number)

    def promote(self, version: str) -> None:
        found = self._find(version)
        if found is None:
            raise RegistryError(
                f"{self._model.name} has no version {version} in MLflow at {self._model.server.address}"
            )
        self._verified(found)
        model = self._model.read()
        before = model.alias(CHAMPION)
        # Written before the alias, as in a store: a roll-back skips the champion itself at the end of the history.
        if before is not None and before != found.version:
            self._write_history([*_history(model), before][-_MAX_HISTORY:])
        self._make_champion(found, model)

    def roll_back(self) -> str:
        model = self._model.read()
        history = _history(model)
        current = model.alias(CHAMPION)
        while history:
            number = history.pop()
            if number == current:
                continue
            # Skips a version that was deleted.
            with suppress(RegistryNotFoundError):
                found = self._model.version(number)
                self._verified(found)
                self._make_champion(found, model)
                self._write_history(history)
                return found.version_name
        raise RegistryError("no version was champion before this one; promote one by its name")

    def cards(self) -> list[ModelCard]:
        cards = []
        for found in self._model.versions():
            version = found.tag(VERSION_TAG)
            # Other projects' versions have no such tag.
            if version:
                with suppress(ArtifactError, RegistryNotFoundError):
                    cards.append(self._card(found, version))
        return sorted(cards, key=lambda card: card.model_version, reverse=True)

    def record(self, record: TrainingRecord) -> None:
        with self._writing():
            # A first training that fails registers no version.
            self._ensure_model()
            value = msgspec.json.encode(record).decode()
            self._client.set_registered_model_tag(self._model.name, LAST_TRAINING_TAG, value)

    def last_training(self) -> TrainingRecord | None:
        return self._model.read().last_training()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise a RegistryError in place of MLflow's exceptions, which show the URI with its credentials."""
        handled = sys.exception()
        try:
            yield
        except (MlflowException, RequestException) as error:
            raise RegistryError(f"MLflow at {self._model.server.address} {_reason(error, handled)}") from error

    def _card(self, found: ModelVersion, version: str) -> ModelCard:
        folder = self._store.folder(version)
        if folder.is_dir():
            return read_card(folder, version, self._public_keys)
        key = found.version, version
        if key not in self._cards:
            with tempfile.TemporaryDirectory() as name:
                self._model.download(found, Path(name), CARD_FILES)
                self._cards[key] = read_card(Path(name), version, self._public_keys)
        return self._cards[key]

    def _verified(self, found: ModelVersion) -> Artifact:
        try:
            return self._model.fetch(found, self._store, self._public_keys)
        except ArtifactError as error:
            raise VersionRejected(f"version {found.version_name} is rejected: {error}") from error
        except OSError as error:
            raise RegistryError(f"{self._store.root} cannot be written: {error.strerror}") from error

    def _find(self, version: str) -> ModelVersion | None:
        return next((found for found in self._model.versions() if found.tag(VERSION_TAG) == version), None)

    def _register(self, card: ModelCard) -> str:
        """Log a run and create a version of the registered model; return its number."""
        self._ensure_model()
        tags = {"mlflow.source.name": "model_training.train", "mlflow.source.git.commit": card.git_commit}
        run = self._client.create_run(
            self._experiment_id(),
            tags={**tags, **_version_tags(card), "data_sha256": card.data.sha256},
            run_name=card.model_version,
        ).info
        try:
            # Fails if the API could not download the files.
            artifact_path(run.artifact_uri)
            self._log(run.run_id, card)
            created = self._client.create_model_version(
                self._model.name,
                f"{run.artifact_uri}/{MODEL_FOLDER}",
                run.run_id,
                tags=_version_tags(card),
                description=_description(card),
                await_creation_for=0,
            )
        except Exception:
            # The first error is the one to report.
            with suppress(MlflowException):
                self._client.set_terminated(run.run_id, "FAILED")
            raise
        self._client.set_terminated(run.run_id)
        return str(created.version)

    def _log(self, run_id: str, card: ModelCard) -> None:
        parameters = {
            "estimator": card.estimator,
            "test_size": card.data.test_size,
            "seed": card.data.seed,
            **card.hyperparameters,
        }
        now = time.time_ns() // 1_000_000
        self._client.log_batch(
            run_id,
            metrics=[Metric(name, value, now, 0) for name, value in _metrics(card).items()],
            params=[Param(name, str(value)) for name, value in parameters.items()],
        )
        dataset = Dataset(
            name=card.data.name,
            digest=card.data.sha256[:_MAX_DIGEST_CHARACTERS],
            source_type="local",
            source=msgspec.json.encode({"name": card.data.name, "sha256": card.data.sha256}).decode(),
            profile=msgspec.json.encode({"num_rows": card.data.rows, "num_features": len(card.features)}).decode(),
        )
        self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        folder = self._store.existing(card.model_version)
        for name in FILES:
            if (folder / name).exists():
                self._client.log_artifact(run_id, str(folder / name), MODEL_FOLDER)
        self._client.log_text(run_id, plots.accuracy_over_time([*self._points(), _point(card)]), ACCURACY_FILE)
        if len(card.classes) <= _MAX_CLASSES:
            matrix = plots.confusion_matrix(card.classes, card.metrics.confusion_matrix)
            self._client.log_text(run_id, matrix, CONFUSION_MATRIX_FILE)

    def _points(self) -> list[plots.Point]:
        """Return those of the previous versions, oldest first, from their tags, which need no download."""
        points = []
        for found, _ in zip(self._model.versions(), range(_MAX_POINTS), strict=False):
            with suppress(ValueError):
                accuracy = float(found.tag("accuracy"))
                if 0 <= accuracy <= 1:
                    promoted = found.tag("gate") != "rejected"
                    points.append(plots.Point(found.tag(VERSION_TAG), found.tag("trained_at"), accuracy, promoted))
        return points[::-1]

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        return str(experiment.experiment_id if experiment else self._client.create_experiment(self._experiment))

    def _ensure_model(self) -> None:
        try:
            self._client.create_registered_model(self._model.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _make_champion(self, found: ModelVersion, model: RegisteredModel) -> None:
        with self._writing():
            self._client.set_registered_model_alias(self._model.name, CHAMPION, found.version)
            if model.alias(CHALLENGER) == found.version:
                self._client.delete_registered_model_alias(self._model.name, CHALLENGER)
        # An API that shares this store switches without waiting for its next poll of MLflow.
        try:
            self._store.activate(found.version_name)
        except (ArtifactError, OSError) as error:
            raise RegistryError(
                f"{found.version_name} is champion, but not current in {self._store.root}: {error}"
            ) from error

    def _write_history(self, numbers: Sequence[str]) -> None:
        with self._writing():
            self._client.set_registered_model_tag(self._model.name, HISTORY_TAG, " ".join(numbers))


def _reason(error: Exception, handled: BaseException | None) -> str:
    """Return the server's message or the first cause, neither of which contains a URI.

    The caller was handling the exception `handled`, which is no cause but is in the chain.
    """
    cause: BaseException = error
    while (next_cause := cause.__cause__ or cause.__context__) not in (None, handled):
        cause = next_cause
    if isinstance(cause, TimeoutError):
        return "does not answer in time"
    response = getattr(cause, "response", None)
    if response is not None:
        return f"answered {response.status_code}: {one_line(response.text)}"
    if isinstance(cause, MlflowException):
        return f"reports: {one_line(str(cause))}"
    return f"cannot be reached: {one_line(str((cause.args or [type(cause).__name__])[-1]))}"


def _history(model: RegisteredModel) -> list[str]:
    return model.tag(HISTORY_TAG).split()


def _version_tags(card: ModelCard) -> dict[str, str]:
    gate = card.gate
    outcome = "none" if gate is None else "passed" if gate.passed else "forced" if gate.forced else "rejected"
    return {
        VERSION_TAG: card.model_version,
        "trained_at": card.trained_at,
        "estimator": card.estimator,
        "data": card.data.name,
        "accuracy": f"{card.metrics.accuracy:.6f}",
        "log_loss": f"{card.metrics.log_loss:.6f}",
        "gate": outcome,
    }


def _metrics(card: ModelCard) -> dict[str, float]:
    metrics = card.metrics
    found = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1, "log_loss": metrics.log_loss}
    if metrics.cross_validation is not None:
        found["cross_validation_accuracy_mean"] = metrics.cross_validation.accuracy_mean
        found["cross_validation_accuracy_std"] = metrics.cross_validation.accuracy_std
    for comparison in card.gate.comparisons if card.gate else []:
        found[f"champion_{comparison.metric}"] = comparison.champion
        found[f"gain_{comparison.metric}"] = comparison.gain
    return found


def _description(card: ModelCard) -> str:
    """Return a summary of the version, with the gate's reasons."""
    reasons = " ".join(card.gate.reasons) if card.gate else ""
    return f"{card.estimator} on {card.data.name}, held-out accuracy {card.metrics.accuracy:.4f}. {reasons}".strip()


def _point(card: ModelCard) -> plots.Point:
    return plots.Point(card.model_version, card.trained_at, card.metrics.accuracy, card.is_promoted)
