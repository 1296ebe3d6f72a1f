"""The model card: what a trained model says of itself.

Everything that serves a model (validation, OpenAPI document, form, metrics) is made from its card, so that no code
outside `model_training` knows a data set.
"""

from typing import Annotated, Literal

import msgspec

CARD_FORMAT = 1

Count = Annotated[int, msgspec.Meta(ge=0)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$(?!\\n)")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Estimator = Literal["xgboost", "random-forest", "logistic-regression"]
# What answers: XGBoost itself, a table that was proved to equal it, or a linear model's coefficients.
Predictor = Literal["decision table", "xgboost", "linear"]
# One path segment that needs no quoting in a shell, a URL or a metric label.
Version = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$(?!\\n)")]


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input column; minimum, maximum and quantiles are those of the training rows, in `unit`."""

    name: Name
    unit: str | None
    dtype: Literal["float", "integer"]
    minimum: float
    maximum: float
    quantiles: dict[str, float]


class CrossValidation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accuracy over k folds of the whole data set: mean and population standard deviation."""

    folds: Count
    accuracy_mean: float
    accuracy_std: float


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Figures on the held-out set; confusion_matrix[i][j] counts rows of class i predicted as class j.

    cross_validation is None where the training had no folds.
    """

    accuracy: float
    macro_f1: float
    log_loss: float
    confusion_matrix: list[list[Count]]
    cross_validation: CrossValidation | None


class DataSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table that the model was trained from; sha256 is over names, rows and labels.

    warnings are what the checks of the table said, a sentence each.
    """

    name: Name
    rows: Count
    train_rows: Count
    test_rows: Count
    test_size: float
    seed: int
    sha256: Digest
    warnings: list[str] = []


class Picture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The features are the pixels of one picture, row by row from the top left; minimum is empty, maximum full ink."""

    width: Annotated[int, msgspec.Meta(ge=1, le=256)]
    height: Annotated[int, msgspec.Meta(ge=1, le=256)]
    minimum: float
    maximum: float


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure of the new model beside the champion's on the same held-out rows, with a paired bootstrap.

    gain is above 0 where the new model is better: accuracy's difference, or log loss's with the sign turned; low and
    high bound its 95% interval. worse_share is the share of resamples in which the new model is worse by more than
    the tolerance.
    """

    metric: Literal["accuracy", "log_loss"]
    champion: float
    challenger: float
    gain: float
    low: float
    high: float
    tolerance: float
    worse_share: float


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the model was let through to become champion, and why.

    reasons are sentences: each rule that it broke, or why there was no comparison. forced: it became champion though
    it broke a rule.
    """

    passed: bool
    forced: bool
    reasons: list[str]
    champion_version: Version | None
    held_out_rows: Count
    comparisons: list[Comparison]


class GoldenRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row and the probabilities that the freshly trained model gave for it."""

    features: list[float]
    probabilities: list[float]


class ArtifactFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pickle beside the card."""

    file: Name
    sha256: Digest
    bytes: Count


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model's name, schema, provenance, quality and the digest of its pickle.

    What has a default is missing in older cards, whose models XGBoost serves.
    """

    card_format: int
    model_name: Name
    model_version: Version
    trained_at: str
    features: Annotated[list[Feature], msgspec.Meta(min_length=1)]
    classes: Annotated[list[Name], msgspec.Meta(min_length=2)]
    hyperparameters: dict[str, int | float | str]
    metrics: Metrics
    feature_importance: dict[str, float]
    data: DataSummary
    golden_rows: Annotated[list[GoldenRow], msgspec.Meta(min_length=1)]
    git_commit: str
    packages: dict[str, str]
    artifact: ArtifactFile
    estimator: Estimator = "xgboost"
    predictor: Predictor = "xgboost"
    table_cells: Count = 0
    picture: Picture | None = None
    gate: Gate | None = None


def encode_card(card: ModelCard) -> bytes:
    """The card as indented JSON, UTF-8, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"


def decode_card(raw: bytes) -> ModelCard:
    """Read a card.

    Raises:
        ValueError: it is not JSON, not of this format, or a field is missing, unknown or of another type;
            the message names the field.
    """
    try:
        # The format is read on its own first: a card of another format has other fields.
        card_format = msgspec.json.decode(raw, type=_Format).card_format
        if card_format != CARD_FORMAT:
            raise ValueError(f"it has format {card_format}, and this program reads format {CARD_FORMAT}")
        card = msgspec.json.decode(raw, type=ModelCard)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    for label, names in (("feature", [feature.name for feature in card.features]), ("class", card.classes)):
        if len(set(names)) != len(names):
            raise ValueError(f"two of its {label} names are the same")
    return card


class _Format(msgspec.Struct):
    card_format: int
