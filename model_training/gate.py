"""Whether a new model may become champion, judged on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model_artifact.card import Comparison, Gate
from model_training.configuration import GateRules
from model_training.evaluation import row_log_losses


def judge(
    rules: GateRules,
    labels: NDArray[Any],
    challenger_probabilities: NDArray[Any],
    *,
    shares: Sequence[float] | NDArray[np.float64],
    champion: tuple[str, NDArray[Any]] | None,
    note: str | None = None,
    seed: int,
    forced: bool = False,
) -> Gate:
    """Hold the new model against a guess, the rules' thresholds and the champion.

    labels, shape (n,), are those of the held-out rows, and probabilities of shape (n, classes) what a model gives for
    them; shares are the classes' in the training rows; champion is its version and its probabilities for the same
    rows. note is a sentence for the reasons: why a champion is not compared, or what is to be known of it.

    Raises:
        ValueError: there are no held-out rows, or the shapes do not belong together.
    """
    labels = np.asarray(labels)
    champion_version, champion_probabilities = champion or (None, challenger_probabilities)
    shape = (len(labels), len(shares))
    if not len(labels) or not challenger_probabilities.shape == champion_probabilities.shape == shape:
        raise ValueError(f"the gate needs probabilities of shape {shape}, and a held-out row at least")
    figures = _Figures(labels, challenger_probabilities)
    broken = [*_worse_than_a_guess(figures, labels, np.asarray(shares)), *_beyond_thresholds(figures, rules)]
    comparisons = []
    notes = [note] if note else []
    if champion_version is None:
        notes = notes or ["There is no champion to compare with."]
    else:
        comparisons = _compare(_Figures(labels, champion_probabilities), figures, rules, seed)
        broken += [
            _lost(comparison, champion_version, rules, len(labels))
            for comparison in comparisons
            if comparison.worse_share > rules.max_worse_share
        ]
    return Gate(
        passed=not broken,
        forced=bool(broken) and forced,
        reasons=broken + notes,
        champion_version=champion_version,
        held_out_rows=len(labels),
        comparisons=comparisons,
    )


class _Figures:
    """Of each row whether a model is right, and its log loss; and the means."""

    def __init__(self, labels: NDArray[Any], probabilities: NDArray[Any]) -> None:
        self.right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
        self.losses = row_log_losses(labels, probabilities)
        self.accuracy = float(self.right.mean())
        self.log_loss = float(self.losses.mean())


def _worse_than_a_guess(figures: _Figures, labels: NDArray[Any], shares: NDArray[np.float64]) -> list[str]:
    guess = _Figures(labels, np.tile(shares, (len(labels), 1)))
    broken = []
    if not figures.accuracy > guess.accuracy:
        broken.append(
            f"Its accuracy {figures.accuracy:.4f} is no better than a guess: to name the commonest class of the"
            f" training rows every time has {guess.accuracy:.4f}."
        )
    if not figures.log_loss < guess.log_loss:
        broken.append(
            f"Its log loss {figures.log_loss:.4f} is no better than a guess: the classes' shares in the training rows"
            f" as probabilities have {guess.log_loss:.4f}."
        )
    return broken


def _beyond_thresholds(figures: _Figures, rules: GateRules) -> list[str]:
    broken = []
    if not figures.accuracy >= rules.min_accuracy:
        broken.append(f"Its accuracy {figures.accuracy:.4f} is below min_accuracy, {rules.min_accuracy:g}.")
    if rules.max_log_loss is not None and not figures.log_loss <= rules.max_log_loss:
        broken.append(f"Its log loss {figures.log_loss:.4f} is above max_log_loss, {rules.max_log_loss:g}.")
    return broken


def _compare(champion: _Figures, challenger: _Figures, rules: GateRules, seed: int) -> list[Comparison]:
    # Of each row, so that in every resample both models answer the same rows.
    gains = np.stack([challenger.right - champion.right, champion.losses - challenger.losses])
    resampled = _resampled_means(gains, rules.resamples, seed)
    names: tuple[Literal["accuracy", "log_loss"], ...] = ("accuracy", "log_loss")
    tolerances = (rules.accuracy_tolerance, rules.log_loss_tolerance)
    comparisons = []
    for name, tolerance, gain, means in zip(names, tolerances, gains, resampled, strict=True):
        low, high = np.quantile(means, (0.025, 0.975))
        comparisons.append(
            Comparison(
                metric=name,
                champion=getattr(champion, name),
                challenger=getattr(challenger, name),
                gain=float(gain.mean()),
                low=float(low),
                high=float(high),
                tolerance=tolerance,
                worse_share=float((means < -tolerance).mean()),
            )
        )
    return comparisons


def _resampled_means(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Means of shape (k, resamples) over as many rows as there are, drawn with repetition, of values (k, rows)."""
    chance = np.random.default_rng(seed)
    rows = values.shape[1]
    means = np.empty((len(values), resamples))
    for index in range(resamples):
        # How often each row was drawn: a seventh of the time that fetching the drawn ones takes.
        counts = np.bincount(chance.integers(0, rows, rows, dtype=np.int32), minlength=rows)
        means[:, index] = (values * counts).sum(axis=1) / rows
    return means


def _lost(comparison: Comparison, champion: str, rules: GateRules, rows: int) -> str:
    name = comparison.metric.replace("_", " ")
    return (
        f"Its {name} {comparison.challenger:.4f} is worse than the {comparison.champion:.4f} of champion {champion} on"
        f" the same {rows} held-out rows: in {comparison.worse_share:.0%} of {rules.resamples} resamples by more than"
        f" {comparison.tolerance:g}, where {rules.max_worse_share:.0%} are allowed."
    )
