"""Write and read an artifact: a folder with the pickled model and its card.

A pickle runs code when it is opened, and a model can be swapped or damaged in transit. The loader checks an artifact in
this order, and each step must pass before the next one reads anything:

1. the card can be read and is not larger than 16 MiB;
2. where public keys are configured: one of them verifies the Ed25519 signature over the card's bytes;
3. the card is JSON of the known format, and is the card of the requested version;
4. the pickle's size and SHA-256 are those of the card;
5. the pickle names no class but those of the estimators, with a state that these classes know;
6. the model is of the card's estimator and has the card's features and classes;
7. the golden rows give the same probabilities as after training;
8. the card's predictor serves the model: a decision table is rebuilt, has the card's number of cells and gives the
   answers of XGBoost for the rows of its verification.

docs/model-artifacts.md lists what this does not protect against.
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
from model_artifact.errors import ArtifactError, SigningError
from model_artifact.predictors.classifier import Classifier
from model_artifact.predictors.linear import LinearPredictor
from model_artifact.predictors.trees import BoostedTrees, RandomForestTrees
from model_artifact.signature import SIGNATURE_FILE, check_signature, sign_card

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MODEL_FILE = "iris_model.pkl"
CARD_FILE = "model_card.json"
GOLDEN_TOLERANCE = 1e-6

# Far above any tabular model; a wrong file must not fill the memory before its digest is checked.
MAX_MODEL_BYTES = 2 * 1024**3
MAX_CARD_BYTES = 16 * 1024**2
MAX_SIGNATURE_BYTES = 1024

_SERVING = (BoostedTrees, RandomForestTrees, LinearPredictor)
_ADMITTED: dict[tuple[str, str], type[Classifier]] = {
    # What training pickles.
    ("model_training.model", "IrisModel"): BoostedTrees,
    ("model_training.estimators.random_forest", "RandomForest"): RandomForestTrees,
    ("model_training.estimators.logistic_regression", "LogisticRegression"): LinearPredictor,
    # What training pickled before these classes moved.
    ("model_training.random_forest", "RandomForest"): RandomForestTrees,
    ("model_training.logistic_regression", "LogisticRegression"): LinearPredictor,
    # A model that was loaded and pickled again.
    **{(serving.__module__, serving.__name__): serving for serving in _SERVING},
}


@dataclass(frozen=True)
class Artifact:
    """A model that passed every check, its card, the card's bytes, and whether the signature was verified."""

    model: Classifier
    card: ModelCard
    card_bytes: bytes
    signature_verified: bool


def save_artifact(
    folder: Path, model: Classifier, card: ModelCard, sign_key: Ed25519PrivateKey | None = None
) -> ModelCard:
    """Write the pickle, the card and, with a key, its signature into an existing folder.

    Return the card with the pickle's digest and size.
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
    """Return the card's entry for the pickle."""
    return ArtifactFile(file=MODEL_FILE, sha256=hashlib.sha256(pickled).hexdigest(), bytes=len(pickled))


def load_artifact(folder: Path, version: str | None = None, public_keys: Sequence[Ed25519PublicKey] = ()) -> Artifact:
    """Verify and open the artifact in `folder`, expected to be `version` where one is named.

    With public keys, an artifact without a signature by one of them is rejected; without, signatures are ignored.

    Raises:
        ArtifactError: a check failed; the message names it and the remedy.
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
    """Return the card after the checks that concern it, without reading the pickle.

    Raises:
        ArtifactError: as `load_artifact`.
    """
    return _parse_card(read_card_bytes(folder, public_keys), version)


def read_card_bytes(folder: Path, public_keys: Sequence[Ed25519PublicKey] = ()) -> bytes:
    """Return the card's bytes, after a check of their signature where there are public keys.

    Raises:
        ArtifactError: it cannot be read, or the signature is missing or wrong.
    """
    raw = _read_file(folder / CARD_FILE, MAX_CARD_BYTES)
    if public_keys:
        if not is_signed(folder):
            raise ArtifactError(
                f"{SIGNATURE_FILE} is missing: this version is not signed, and a public key is set; sign it with"
                " tabular keys sign, or train with --sign-key."
            )
        try:
            check_signature(raw, _read_file(folder / SIGNATURE_FILE, MAX_SIGNATURE_BYTES), public_keys)
        except SigningError as error:
            raise ArtifactError(str(error)) from error
    return raw


def is_signed(folder: Path) -> bool:
    """Return whether the artifact has a signature, valid or not."""
    return os.path.lexists(folder / SIGNATURE_FILE)


def _parse_card(raw: bytes, version: str | None) -> ModelCard:
    try:
        card = decode_card(raw)
    except ValueError as error:
        raise ArtifactError(f"{CARD_FILE} cannot be used: {error}; train again.") from error
    if version is not None and card.model_version != version:
        raise ArtifactError(
            f"{CARD_FILE} is the card of version {card.model_version}, but is in the folder of version {version};"
            " put both files of one version together."
        )
    return card


def _read_pickle(folder: Path, card: ModelCard) -> bytes:
    pickled = _read_file(folder / MODEL_FILE, MAX_MODEL_BYTES)
    expected = card.artifact
    if len(pickled) != expected.bytes:
        raise ArtifactError(
            f"{MODEL_FILE} has {len(pickled)} bytes, but its card records {expected.bytes}: it is truncated or belongs"
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
            # The process of a training may not have the memory for a buffer of the limit's size.
            raw = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
    except OSError as error:
        raise ArtifactError(f"{path.name} cannot be read: {error.strerror}; train a model or copy it again.") from error
    if len(raw) > limit:
        raise ArtifactError(f"{path.name} is larger than the limit of {limit} bytes; train again.")
    return raw


class _ArtifactUnpickler(pickle.Unpickler):
    """Admit the classes that an artifact may hold: any other name could run a command (docs of `pickle`)."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise ArtifactError(
                f"{MODEL_FILE} loads {_printable(module)}.{_printable(name)}, which no artifact holds: do not trust its"
                " source; train again."
            ) from None


def _printable(name: str) -> str:
    # The pickle's author chose the name: it must not flood or break a log line.
    return name[:100].encode("unicode_escape").decode()


def _unpickle(pickled: bytes) -> Classifier:
    try:
        model = _ArtifactUnpickler(io.BytesIO(pickled)).load()
    except ArtifactError:
        raise
    # Bytes that are not a pickle, or not a booster, raise nearly every exception there is.
    except Exception as error:
        raise ArtifactError(f"{MODEL_FILE} cannot be opened ({type(error).__name__}); train again.") from error
    if not isinstance(model, _SERVING):
        raise ArtifactError(f"{MODEL_FILE} holds a {type(model).__name__}, not a model; train again.")
    return model


def _check_shape(model: Classifier, card: ModelCard) -> None:
    if model.estimator != card.estimator:
        raise ArtifactError(
            f"{MODEL_FILE} holds a model of {model.estimator}, but its card records {card.estimator}; train again."
        )
    try:
        shape = (model.n_features, model.n_classes)
    # A pickle may create an object and never set its state.
    except Exception as error:
        raise ArtifactError(f"{MODEL_FILE} holds a model that was never trained; train again.") from error
    expected = (len(card.features), len(card.classes))
    if shape != expected:
        raise ArtifactError(
            f"{MODEL_FILE} has {shape[0]} features and {shape[1]} classes, but its card records {expected[0]} and"
            f" {expected[1]}; train again."
        )


def _replay_golden_rows(model: Classifier, card: ModelCard) -> None:
    try:
        rows = np.array([row.features for row in card.golden_rows], dtype=np.float32)
        expected = np.array([row.probabilities for row in card.golden_rows], dtype=np.float64)
        difference = float(np.abs(model.predict_proba(rows) - expected).max())
    except ValueError as error:
        raise ArtifactError(f"{CARD_FILE} has golden rows of another shape than the model; train again.") from error
    # `not <=` also rejects NaN.
    if not difference <= GOLDEN_TOLERANCE:
        raise ArtifactError(
            f"{MODEL_FILE} does not give the probabilities of its golden rows (off by {difference:.3g}, more than"
            f" {GOLDEN_TOLERANCE:g}): it is another model, or this machine computes differently; train again."
        )


def _check_predictor(model: Classifier, card: ModelCard) -> None:
    reason = model.verify_predictor(card)
    if reason is not None:
        raise ArtifactError(f"{MODEL_FILE} {reason}; train again.")
