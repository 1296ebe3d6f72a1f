"""Versions in MLflow: a run and a version of the registered model for each, and aliases that say which one serves.

The files of a version lie in the store first, and go to MLflow's artifacts as they are, so that who fetches them proves
them as ever. The alias `champion` is what the API follows (registry_follower.py); the store's pointer is set
to the same.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from model_artifact.card import ModelCard
from model_artifact.mlflow.client import NotThere
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
from model_artifact.pickling import Artifact, ArtifactError, read_card
from model_artifact.store import ArtifactStore
from model_artifact.training_record import TrainingRecord
from model_training.registry import plots
from model_training.registry.registry import RegistryError, VersionRefused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MODEL_FOLDER = "model"
CONFUSION_MATRIX_FILE = "confusion_matrix.svg"
ACCURACY_FILE = "accuracy_over_time.svg"

# Roll-backs in a row that are possible, as in a store.
_MAX_HISTORY = 100
# A picture with more cells than this tells nobody anything.
_MAX_CLASSES = 50
# Versions in the plot of the accuracy over time.
_MAX_POINTS = 200
_MAX_DIGEST = 36


class _Run(msgspec.Struct):
    class Info(msgspec.Struct):
        run_id: str
        artifact_uri: str

    info: Info


class _RunAnswer(msgspec.Struct):
    run: _Run


class _ExperimentAnswer(msgspec.Struct):
    class Experiment(msgspec.Struct):
        experiment_id: str

    experiment: Experiment


class _ExperimentCreated(msgspec.Struct):
    experiment_id: str


class _VersionAnswer(msgspec.Struct):
    model_version: ModelVersion


class MlflowRegistry:
    """See `registry.Registry`; the champion is the version with the alias."""

    def __init__(
        self,
        store: ArtifactStore,
        public_keys: Sequence[Ed25519PublicKey],
        environ: Mapping[str, str],
    ) -> None:
        """
        Raises:
            RegistryError: one of MLflow's variables cannot be used.
        """
        self._store = store
        self._public_keys = public_keys
        self._model = MlflowModel.from_environ(environ)
        self._server = self._model.server
        # Of versions that only MLflow has, by number and name: to fetch them anew each time takes 40 ms a version.
        self._fetched: dict[tuple[str, str], ModelCard] = {}
        self._experiment = environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or self._model.name

    def champion(self) -> Artifact | None:
        number = self._model.read().alias(CHAMPION)
        return None if number is None else self._proved(self._model.version(number))

    def champion_version(self) -> str | None:
        number = self._model.read().alias(CHAMPION)
        return None if number is None else self._model.version(number).version_name

    def register(self, card: ModelCard) -> None:
        """A run with all that is known of the version, and a version of the registered model, which is challenger."""
        found = self._find(card.model_version) or self._register(card)
        self._set_alias(CHALLENGER, found.version)

    def promote(self, version: str) -> None:
        found = self._find(version)
        if found is None:
            raise RegistryError(f"{self._model.name} has no version {version} in MLflow at {self._server.address}")
        self._proved(found)
        model = self._model.read()
        before = model.alias(CHAMPION)
        # First the history, as in a store: its end is passed over where it is the champion itself.
        if before not in (None, found.version):
            self._set_model_tag(HISTORY_TAG, " ".join([*_history(model), str(before)][-_MAX_HISTORY:]))
        self._make_champion(found, model)

    def roll_back(self) -> str:
        model = self._model.read()
        history = _history(model)
        current = model.alias(CHAMPION)
        while history:
            number = history.pop()
            if number == current:
                continue
            # One that was deleted since is passed over.
            with suppress(NotThere):
                found = self._model.version(number)
                self._proved(found)
                self._make_champion(found, model)
                self._set_model_tag(HISTORY_TAG, " ".join(history))
                return found.version_name
        raise RegistryError("no version was champion before this one; promote one by its name")

    def cards(self) -> list[ModelCard]:
        cards = []
        for found in self._model.versions():
            # What is refused, or was registered by somebody else, is not shown.
            with suppress(ArtifactError, NotThere), tempfile.TemporaryDirectory() as name:
                version = found.tag(VERSION_TAG)
                if not version:
                    continue
                folder = self._store.folder(version)
                if folder.is_dir():
                    cards.append(read_card(folder, version, self._public_keys))
                    continue
                fetched = found.version, version
                if fetched not in self._fetched:
                    self._model.download(found, Path(name), CARD_FILES)
                    self._fetched[fetched] = read_card(Path(name), version, self._public_keys)
                cards.append(self._fetched[fetched])
        return sorted(cards, key=lambda card: card.model_version, reverse=True)

    def record(self, record: TrainingRecord) -> None:
        self._set_model_tag(LAST_TRAINING_TAG, msgspec.json.encode(record).decode())

    def last_training(self) -> TrainingRecord | None:
        return self._model.read().last_training()

    def _proved(self, found: ModelVersion) -> Artifact:
        try:
            return self._model.fetch(found, self._store, self._public_keys)
        except ArtifactError as error:
            raise VersionRefused(f"version {found.version_name} is refused: {error}") from error
        except OSError as error:
            raise RegistryError(f"{self._store.root} cannot be written: {error.strerror}") from error

    def _find(self, version: str) -> ModelVersion | None:
        return next((found for found in self._model.versions() if found.tag(VERSION_TAG) == version), None)

    def _register(self, card: ModelCard) -> ModelVersion:
        self._ensure_model()
        with self._run(card) as run:
            self._log(run, card)
            folder = artifact_path(run.artifact_uri)
            files = self._store.existing(card.model_version)
            for name in FILES:
                if (files / name).exists():
                    self._server.upload(files / name, f"{folder}/{MODEL_FOLDER}/{name}")
            self._upload_plots(folder, card)
            return self._server.send(
                "model-versions/create",
                {
                    "name": self._model.name,
                    "source": f"{run.artifact_uri}/{MODEL_FOLDER}",
                    "run_id": run.run_id,
                    "tags": _tags(_version_tags(card)),
                    "description": _description(card),
                },
                _VersionAnswer,
            ).model_version

    @contextmanager
    def _run(self, card: ModelCard) -> Iterator[_Run.Info]:
        """A run that ends with the block: finished, or failed where it left by an error."""
        run = self._server.send(
            "runs/create",
            {
                "experiment_id": self._experiment_id(),
                "run_name": card.model_version,
                "start_time": _now(),
                "tags": _tags(
                    {"mlflow.source.name": "model_training.train", "mlflow.source.git.commit": card.git_commit}
                ),
            },
            _RunAnswer,
        ).run.info
        try:
            yield run
        except (ArtifactError, OSError, RegistryError) as error:
            # Why it failed is worth more than that it could not be told.
            with suppress(RegistryError):
                self._end(run, "FAILED")
            raise RegistryError(str(error)) from error
        self._end(run, "FINISHED")

    def _end(self, run: _Run.Info, status: str) -> None:
        self._server.send("runs/update", {"run_id": run.run_id, "status": status, "end_time": _now()}, dict)

    def _log(self, run: _Run.Info, card: ModelCard) -> None:
        now = _now()
        parameters = {
            "estimator": card.estimator,
            "test_size": card.data.test_size,
            "seed": card.data.seed,
            **card.hyperparameters,
        }
        self._server.send(
            "runs/log-batch",
            {
                "run_id": run.run_id,
                "params": _tags(parameters),
                "metrics": [
                    {"key": key, "value": value, "timestamp": now, "step": 0} for key, value in _metrics(card).items()
                ],
                "tags": _tags({**_version_tags(card), "data_sha256": card.data.sha256}),
            },
            dict,
        )
        dataset = {
            "name": card.data.name,
            "digest": card.data.sha256[:_MAX_DIGEST],
            "source_type": "local",
            "source": msgspec.json.encode({"name": card.data.name, "sha256": card.data.sha256}).decode(),
            "profile": msgspec.json.encode({"num_rows": card.data.rows, "num_features": len(card.features)}).decode(),
        }
        context = _tags({"mlflow.data.context": "training"})
        self._server.send(
            "runs/log-inputs", {"run_id": run.run_id, "datasets": [{"tags": context, "dataset": dataset}]}, dict
        )

    def _upload_plots(self, folder: str, card: ModelCard) -> None:
        drawn = {ACCURACY_FILE: plots.accuracy_over_time([*self._points(), _point(card)])}
        if len(card.classes) <= _MAX_CLASSES:
            drawn[CONFUSION_MATRIX_FILE] = plots.confusion_matrix(card.classes, card.metrics.confusion_matrix)
        with tempfile.TemporaryDirectory() as name:
            for file, picture in drawn.items():
                path = Path(name) / file
                path.write_text(picture, encoding="utf-8")
                self._server.upload(path, f"{folder}/{file}")

    def _points(self) -> list[plots.Point]:
        """Those of the versions before, oldest first, from their tags: no file has to be fetched."""
        points = []
        for found, _ in zip(self._model.versions(), range(_MAX_POINTS), strict=False):
            with suppress(ValueError):
                accuracy = float(found.tag("accuracy"))
                if 0 <= accuracy <= 1:
                    promoted = found.tag("gate") != "rejected"
                    points.append(plots.Point(found.tag(VERSION_TAG), found.tag("trained_at"), accuracy, promoted))
        return points[::-1]

    def _experiment_id(self) -> str:
        with suppress(NotThere):
            answer = self._server.get("experiments/get-by-name", _ExperimentAnswer, experiment_name=self._experiment)
            return answer.experiment.experiment_id
        return self._server.send("experiments/create", {"name": self._experiment}, _ExperimentCreated).experiment_id

    def _ensure_model(self) -> None:
        try:
            self._server.send("registered-models/create", {"name": self._model.name}, dict)
        except RegistryError:
            # It is there already; if it is not, this says why.
            self._server.get("registered-models/get", dict, name=self._model.name)

    def _make_champion(self, found: ModelVersion, model: RegisteredModel) -> None:
        self._set_alias(CHAMPION, found.version)
        if model.alias(CHALLENGER) == found.version:
            body = {"name": self._model.name, "alias": CHALLENGER}
            self._server.send("registered-models/alias", body, dict, method="DELETE")
        # As an API that follows does with its store; one that shares this one need not wait for its next look.
        try:
            self._store.activate(found.version_name)
        except (ArtifactError, OSError) as error:
            raise RegistryError(
                f"{found.version_name} is champion, but not current in {self._store.root}: {error}"
            ) from error

    def _set_alias(self, alias: str, number: str) -> None:
        body = {"name": self._model.name, "alias": alias, "version": number}
        self._server.send("registered-models/alias", body, dict)

    def _set_model_tag(self, key: str, value: str) -> None:
        body = {"name": self._model.name, "key": key, "value": value}
        try:
            self._server.send("registered-models/set-tag", body, dict)
        except NotThere:
            # The first training failed: nothing is registered, and yet there is something to tell.
            self._ensure_model()
            self._server.send("registered-models/set-tag", body, dict)


def _history(model: RegisteredModel) -> list[str]:
    return model.tag(HISTORY_TAG).split()


def _tags(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"key": key, "value": str(value)} for key, value in values.items()]


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
    """What people read first: the gate's reasons, if it had any."""
    reasons = " ".join(card.gate.reasons) if card.gate else ""
    return f"{card.estimator} on {card.data.name}, held-out accuracy {card.metrics.accuracy:.4f}. {reasons}".strip()


def _point(card: ModelCard) -> plots.Point:
    promoted = card.gate is None or card.gate.passed or card.gate.forced
    return plots.Point(card.model_version, card.trained_at, card.metrics.accuracy, promoted)


def _now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
