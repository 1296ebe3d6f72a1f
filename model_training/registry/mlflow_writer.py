"""Write to MLflow: log runs, create versions, and set aliases and tags, with MLflow's own client."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from requests import RequestException

from model_artifact.card import ModelCard
from model_artifact.errors import RegistryError
from model_artifact.mlflow.client import one_line
from model_artifact.mlflow.registered_model import FILES, VERSION_TAG, artifact_path
from model_training.registry import plots

MODEL_FOLDER = "model"
CONFUSION_MATRIX_FILE = "confusion_matrix.svg"

# A larger confusion matrix is illegible.
_MAX_CLASSES = 50
# MLflow's limit.
_MAX_DIGEST_CHARACTERS = 36

# It warns of each retry; the error reports the last one.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)


class MlflowWriter:
    """Writes to one registered model and one experiment; each method raises a RegistryError if the server fails."""

    def __init__(self, uri: str, address: str, model: str, experiment: str) -> None:
        """address is the URI without credentials, for messages."""
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._address = address
        self._model = model
        self._experiment = experiment

    def create_model(self) -> None:
        """Create the registered model unless it exists."""
        with self._errors():
            try:
                self._client.create_registered_model(self._model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise

    def set_tag(self, key: str, value: str) -> None:
        """Set a tag of the registered model."""
        with self._errors():
            self._client.set_registered_model_tag(self._model, key, value)

    def set_alias(self, alias: str, number: str) -> None:
        """Point an alias at a version."""
        with self._errors():
            self._client.set_registered_model_alias(self._model, alias, number)

    def delete_alias(self, alias: str) -> None:
        """Delete an alias."""
        with self._errors():
            self._client.delete_registered_model_alias(self._model, alias)

    def register(self, card: ModelCard, folder: Path) -> str:
        """Log a run with the files of a version's folder, create a version from it, and return its number.

        The files become artifacts unchanged, so that the loader can verify them after a download.
        """
        self.create_model()
        tags = {"mlflow.source.name": "model_training.train", "mlflow.source.git.commit": card.git_commit}
        with self._errors():
            run = self._client.create_run(
                self._experiment_id(),
                tags={**tags, **_version_tags(card), "data_sha256": card.data.sha256},
                run_name=card.model_version,
            ).info
            try:
                # Fails if the API could not download the files.
                artifact_path(run.artifact_uri)
                self._log(run.run_id, card, folder)
                created = self._client.create_model_version(
                    self._model,
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

    def _log(self, run_id: str, card: ModelCard, folder: Path) -> None:
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
        for name in FILES:
            if (folder / name).exists():
                self._client.log_artifact(run_id, str(folder / name), MODEL_FOLDER)
        if len(card.classes) <= _MAX_CLASSES:
            matrix = plots.confusion_matrix(card.classes, card.metrics.confusion_matrix)
            self._client.log_text(run_id, matrix, CONFUSION_MATRIX_FILE)

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        return str(experiment.experiment_id if experiment else self._client.create_experiment(self._experiment))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise a RegistryError in place of MLflow's exceptions, which show the URI with its credentials."""
        handled = sys.exception()
        try:
            yield
        except (MlflowException, RequestException) as error:
            raise RegistryError(f"MLflow at {self._address} {_reason(error, handled)}") from error


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
