"""The model card: the description of a trained model.

Everything that serves a model (validation, OpenAPI document, form, metrics) is derived from its card, so that no code
outside `model_training` knows a data set.
"""

from typing import Annotated, Literal

import msgspec

CARD_FORMAT = 1

Count = Annotated[int, msgspec.Meta(ge=0)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$(?!\\n)")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Estimator = Literal["xgboost", "random-forest", "logistic-regression"]
# What computes the answers: XGBoost, a table that was verified to equal it, or the weights of a linear model.
Predictor = Literal["decision table", "xgboost", "linear"]
# One path segment, safe without quotes in a shell, a URL or a metric label.
Version = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$(?!\\n)")]


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input column; minimum, maximum and quantiles are those of the training rows, in `unit`."""

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
    """Metrics on the held-out rows; confusion_matrix[i][j] counts rows of class i predicted as class j.

    cross_validation is None if the training had no folds.
    """

    accuracy: float
    macro_f1: float
    log_loss: float
    confusion_matrix: list[list[Count]]
    cross_validation: CrossValidation | None


class DataSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table that the model was trained from; sha256 covers names, rows and labels.

    warnings are those of the table's checks, one sentence each.
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
    """The features are the pixels of a picture, row by row from the top left; maximum is full ink, minimum is none."""

    width: Annotated[int, msgspec.Meta(ge=1, le=256)]
    height: Annotated[int, msgspec.Meta(ge=1, le=256)]
    minimum: float
    maximum: float


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A metric of challenger and champion on the same held-out rows, with a paired bootstrap.

    gain is the difference in favour of the challenger; low and high bound its 95% interval. worse_share is the share of
    resamples where the challenger is worse by more than the tolerance.
    """

    metric: Literal["accuracy", "log_loss"]
    champion: float
    challenger: float
    gain: float
    low: float
    high: float
    tolerance: float
    worse_share: float


class GateDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the model passed the gate and was promoted to champion, and why.

    reasons are sentences: each rule that it broke, or why there was no comparison. forced: it was promoted although it
    broke a rule.
    """

    passed: bool
    forced: bool
    reasons: list[str]
    champion_version: Version | None
    held_out_rows: Count
    comparisons: list[Comparison]


class GoldenRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row and its probabilities as computed right after training."""

    features: list[float]
    probabilities: list[float]


class ArtifactFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pickle beside the card."""

    file: Name
    sha256: Digest
    bytes: Count


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model's name, schema, provenance, quality and the digest of its pickle.

    Fields with a default are missing in older cards, whose models XGBoost serves.
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
    gate: GateDecision | None = None

    @property
    def is_promoted(self) -> bool:
        """Return whether training made this version champion; later switches are not recorded here."""
        return self.gate is None or self.gate.passed or self.gate.forced


def encode_card(card: ModelCard) -> bytes:
    """Return the card as indented JSON, UTF-8, with a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"


def decode_card(raw: bytes) -> ModelCard:
    """Read a card.

    Raises:
        ValueError: it is not JSON or not of this format, or a field is missing, unknown or of another type, which the
            message names.
    """
    try:
        # The format comes first: a card of another format has other fields.
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
