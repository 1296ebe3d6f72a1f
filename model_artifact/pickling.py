"""Write and read an artifact: a folder with the pickled model and its card.

A pickle runs code when it is opened, and a model can be swapped or damaged on its way. So an artifact is opened in this
order, and each step has to pass before the next one reads anything:

1. the card can be read and is not larger than 16 MiB;
2. where there are public keys: an Ed25519 signature over the card's bytes is by the owner of one of them;
3. the card is JSON of the known format, and is the card of the version that was asked for;
4. the pickle's size and SHA-256 are those of the card;
5. the pickle names no class but those of the estimators, and gives them a state that they know;
6. the model is of the card's estimator and has the card's features and classes;
7. the golden rows give the probabilities that they gave after training;
8. where the card says that a decision table serves: the table, made anew, has the card's number of cells and gives
   XGBoost's answers for the rows of its proof; else what the card says is what answers.

docs/model-artifacts.md says what this does not protect from.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from model_artifact.card import ArtifactFile, ModelCard, decode_card, encode_card
from model_artifact.predictors.classifier import Classifier
from model_artifact.predictors.decision_table import TableError
from model_artifact.signature import SIGNATURE_FILE, SigningError, check_signature, sign_card
from model_training.estimators.logistic_regression import LogisticRegression
from model_training.estimators.random_forest import RandomForest
from model_training.model import IrisModel

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MODEL_FILE = "iris_model.pkl"
CARD_FILE = "model_card.json"
GOLDEN_TOLERANCE = 1e-6

# Far above any tabular model; it keeps a wrong file from filling the memory before its digest is known.
MAX_MODEL_BYTES = 2 * 1024**3
MAX_CARD_BYTES = 16 * 1024**2
MAX_SIGNATURE_BYTES = 1024

_ESTIMATORS = (IrisModel, RandomForest, LogisticRegression)
_ADMITTED = {(estimator.__module__, estimator.__name__): estimator for estimator in _ESTIMATORS}


class ArtifactError(Exception):
    """An artifact is refused; the message is one sentence for an operator."""


@dataclass(frozen=True)
class Artifact:
    """A model that passed every check, its card, the card's bytes, and whether a signature was among the checks."""

    model: Classifier
    card: ModelCard
    card_bytes: bytes
    signature_verified: bool


def save_artifact(
    folder: Path, model: Classifier, card: ModelCard, sign_key: Ed25519PrivateKey | None = None
) -> ModelCard:
    """Write the pickle, the card and, with a key, its signature into an existing folder.

    Returns the card with the pickle's digest and size.
    """
    pickled = pickle.dumps(model, protocol=5)
    card = msgspec.structs.replace(card, artifact=describe_pickle(pickled))
    raw = encode_card(card)
    (folder / MODEL_FILE).write_bytes(pickled)
    (folder / CARD_FILE).write_bytes(raw)
    if sign_key is not None:
        (folder / SIGNATURE_FILE).write_bytes(sign_card(raw, sign_key))
    return card


def describe_pickle(pickled: bytes) -> ArtifactFile:
    """What the card says of the pickle."""
    return ArtifactFile(file=MODEL_FILE, sha256=hashlib.sha256(pickled).hexdigest(), bytes=len(pickled))


def load_artifact(folder: Path, version: str | None = None, public_keys: Sequence[Ed25519PublicKey] = ()) -> Artifact:
    """Open and prove the artifact in `folder`, expected to be `version` where one is named.

    With public keys, an artifact that none of their owners signed is refused; without, a signature is not looked at.

    Raises:
        ArtifactError: a check failed; the message says which one and what to do.
    """
    raw = read_card_bytes(folder, public_keys)
    card = _parse_card(raw, version)
    pickled = _read_pickle(folder, card)
    model = _unpickle(pickled)
    _check_shape(model, card)
    _replay_golden_rows(model, card)
    _check_predictor(model, card)
    return Artifact(model=model, card=card, card_bytes=raw, signature_verified=bool(public_keys))


def read_card(folder: Path, version: str, public_keys: Sequence[Ed25519PublicKey] = ()) -> ModelCard:
    """The card alone, after the checks that concern it; the pickle is not read.

    Raises:
        ArtifactError: as `load_artifact`.
    """
    return _parse_card(read_card_bytes(folder, public_keys), version)


def read_card_bytes(folder: Path, public_keys: Sequence[Ed25519PublicKey] = ()) -> bytes:
    """The card as it lies there, with public keys only if one of them signed it.

    Raises:
        ArtifactError: it cannot be read, or the signature is missing or wrong.
    """
    raw = _read_file(folder / CARD_FILE, MAX_CARD_BYTES)
    if public_keys:
        if not is_signed(folder):
            raise ArtifactError(
                f"{SIGNATURE_FILE} is missing: this version is not signed, and a public key is set; sign it with"
                " python -m model_training.signing sign, or train with --sign-key."
            )
        try:
            check_signature(raw, _read_file(folder / SIGNATURE_FILE, MAX_SIGNATURE_BYTES), public_keys)
        except SigningError as error:
            raise ArtifactError(str(error)) from error
    return raw


def is_signed(folder: Path) -> bool:
    """Whether there is a signature, right or wrong."""
    return os.path.lexists(folder / SIGNATURE_FILE)


def _parse_card(raw: bytes, version: str | None) -> ModelCard:
    try:
        card = decode_card(raw)
    except ValueError as error:
        raise ArtifactError(f"{CARD_FILE} cannot be used: {error}; train again.") from error
    if version is not None and card.model_version != version:
        raise ArtifactError(
            f"{CARD_FILE} is the card of version {card.model_version}, but it lies in the folder of version {version};"
            " put both files of one version together."
        )
    return card


def _read_pickle(folder: Path, card: ModelCard) -> bytes:
    pickled = _read_file(folder / MODEL_FILE, MAX_MODEL_BYTES)
    expected = card.artifact
    if len(pickled) != expected.bytes:
        raise ArtifactError(
            f"{MODEL_FILE} has {len(pickled)} bytes where its card says {expected.bytes}: it is cut short or belongs"
            " to another card; copy it again or train again."
        )
    if hashlib.sha256(pickled).hexdigest() != expected.sha256:
        raise ArtifactError(
            f"{MODEL_FILE} does not have the SHA-256 of its card: it was changed or damaged; copy it again or"
            " train again."
        )
    return pickled


def _read_file(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            # As much as there is: a buffer of the limit's size is more than a training's process may have.
            raw = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
    except OSError as error:
        raise ArtifactError(f"{path.name} cannot be read: {error.strerror}; train a model or copy it again.") from error
    if len(raw) > limit:
        raise ArtifactError(f"{path.name} is larger than the {limit} bytes that are read at most; train again.")
    return raw


class _ArtifactUnpickler(pickle.Unpickler):
    """Admits the classes that an artifact holds: any other name could run a command (docs of `pickle`)."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise ArtifactError(
                f"{MODEL_FILE} wants to load {_printable(module)}.{_printable(name)}, which no artifact holds: do"
                " not trust where it came from; train again."
            ) from None


def _printable(name: str) -> str:
    # A name is its maker's: it must neither flood nor break a log line.
    return name[:100].encode("unicode_escape").decode()


def _unpickle(pickled: bytes) -> Classifier:
    try:
        model = _ArtifactUnpickler(io.BytesIO(pickled)).load()
    except ArtifactError:
        raise
    # Bytes that are no pickle, or a booster that is none, raise nearly every exception there is.
    except Exception as error:
        raise ArtifactError(f"{MODEL_FILE} cannot be opened ({type(error).__name__}); train again.") from error
    if not isinstance(model, _ESTIMATORS):
        raise ArtifactError(f"{MODEL_FILE} holds a {type(model).__name__}, not a model; train again.")
    return model


def _check_shape(model: Classifier, card: ModelCard) -> None:
    if model.estimator != card.estimator:
        raise ArtifactError(
            f"{MODEL_FILE} holds a model of {model.estimator} where its card says {card.estimator}; train again."
        )
    try:
        shape = (model.n_features, model.n_classes)
    # An object without its state: a pickle may create a model and never fill it.
    except Exception as error:
        raise ArtifactError(f"{MODEL_FILE} holds a model that was never trained; train again.") from error
    expected = (len(card.features), len(card.classes))
    if shape != expected:
        raise ArtifactError(
            f"{MODEL_FILE} has {shape[0]} features and {shape[1]} classes where its card says {expected[0]} and"
            f" {expected[1]}; train again."
        )


def _replay_golden_rows(model: Classifier, card: ModelCard) -> None:
    try:
        rows = np.array([row.features for row in card.golden_rows], dtype=np.float32)
        expected = np.array([row.probabilities for row in card.golden_rows], dtype=np.float64)
        difference = float(np.abs(model.predict_proba(rows) - expected).max())
    except ValueError as error:
        raise ArtifactError(f"{CARD_FILE} has golden rows of another shape than the model; train again.") from error
    # Written so that NaN fails as well.
    if not difference <= GOLDEN_TOLERANCE:
        raise ArtifactError(
            f"{MODEL_FILE} does not give the probabilities of its golden rows (off by {difference:.3g}, at most"
            f" {GOLDEN_TOLERANCE:g} is allowed): it is another model, or this machine computes otherwise; train again."
        )


def _check_predictor(model: Classifier, card: ModelCard) -> None:
    """Make the decision table that the card promises, where it does."""
    if card.predictor != "decision table":
        if model.predictor != card.predictor:
            raise ArtifactError(
                f"{MODEL_FILE} is answered by {model.predictor} where its card says {card.predictor}; train again."
            )
        return
    try:
        model.tabulate()
    except TableError as error:
        raise ArtifactError(
            f"{MODEL_FILE} cannot serve from the decision table that its card promises: {error}; train again."
        ) from error
    if model.table_cells != card.table_cells:
        raise ArtifactError(
            f"{MODEL_FILE} makes a decision table of {model.table_cells} cells where its card says"
            f" {card.table_cells}: it is another model; train again."
        )
