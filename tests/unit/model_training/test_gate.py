"""The gate: its rules, and the sentences that give the reasons of a rejection."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss

from model_training.configuration import GateRules
from model_training.evaluation import row_log_losses
from model_training.gate import decide

DEFAULTS = GateRules()
SHARES = (0.5, 0.3, 0.2)
LABELS = np.repeat([0, 1, 2], [100, 60, 40])


def model(wrong: int, sure: float = 0.9, seed: int = 0) -> Any:
    """Return a model's probabilities for LABELS, with this confidence and this many random errors."""
    named = LABELS.copy()
    rows = np.random.default_rng(seed).permutation(len(LABELS))[:wrong]
    named[rows] = (named[rows] + 1) % 3
    probabilities = np.full((len(LABELS), 3), (1 - sure) / 2, dtype=np.float32)
    probabilities[np.arange(len(LABELS)), named] = sure
    return probabilities


def gate(challenger: Any, champion: Any = None, rules: GateRules = DEFAULTS, **options: Any) -> Any:
    named = None if champion is None else ("v1", champion)
    return decide(rules, LABELS, challenger, shares=SHARES, champion=named, seed=42, **options)


def test_the_first_model_passes_if_it_beats_the_baseline() -> None:
    result = gate(model(20))
    assert (result.passed, result.forced, result.champion_version, result.comparisons) == (True, False, None, [])
    assert result.reasons == ["There is no champion to compare with."]
    assert result.held_out_rows == 200


def test_the_baseline_does_not_pass() -> None:
    result = gate(np.tile(np.array(SHARES, dtype=np.float32), (200, 1)))
    assert not result.passed
    assert result.reasons[:2] == [
        "Its accuracy 0.5000 is no better than the majority-class baseline: always predicting the most frequent class"
        " of the training rows gives 0.5000.",
        "Its log loss 1.0297 is no better than the baseline: the classes' shares in the training rows as probabilities"
        " give 1.0297.",
    ]


def test_an_overconfident_model_is_no_better_than_the_baseline() -> None:
    result = gate(model(60, sure=0.9999))
    assert not result.passed
    assert [reason.split(" ")[1] for reason in result.reasons] == ["log", "is"]


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"min_accuracy": 0.9}, None),
        ({"min_accuracy": 0.901}, "Its accuracy 0.9000 is below min_accuracy, 0.901."),
        ({"max_log_loss": 0.5}, None),
        ({"max_log_loss": 0.3}, "Its log loss 0.3944 is above max_log_loss, 0.3."),
    ],
)
def test_missed_thresholds_are_named(rules: dict[str, float], sentence: str | None) -> None:
    result = gate(model(20), rules=GateRules(**rules))
    assert result.passed == (sentence is None)
    assert sentence is None or sentence in result.reasons


def test_an_equal_model_passes_with_no_gain() -> None:
    result = gate(model(20), model(20))
    assert (result.passed, result.reasons, result.champion_version) == (True, [], "v1")
    assert [item.metric for item in result.comparisons] == ["accuracy", "log_loss"]
    for item in result.comparisons:
        assert (item.gain, item.low, item.high, item.worse_share) == (0, 0, 0, 0)
        assert item.champion == item.challenger


def test_a_better_model_passes_and_its_gain_is_recorded() -> None:
    accuracy, losses = gate(model(10), model(40, seed=1)).comparisons
    assert (accuracy.champion, accuracy.challenger) == (0.8, 0.95)
    assert accuracy.gain == pytest.approx(0.15)
    assert 0 < accuracy.low < 0.15 < accuracy.high < 0.3
    assert losses.gain == pytest.approx(losses.champion - losses.challenger) and losses.gain > 0
    assert accuracy.worse_share == losses.worse_share == 0


def test_a_worse_model_is_rejected_with_the_numbers() -> None:
    result = gate(model(60, seed=1), model(10))
    assert not result.passed
    assert result.reasons == [
        "Its accuracy 0.7000 is worse than the 0.9500 of champion v1 on the same 200 held-out rows: it is worse by more"
        " than 0.01 in 100% of 2000 resamples, and 50% are allowed.",
        "Its log loss 0.9725 is worse than the 0.2499 of champion v1 on the same 200 held-out rows: it is worse by more"
        " than 0.05 in 100% of 2000 resamples, and 50% are allowed.",
    ]


def test_a_loss_within_the_tolerance_passes_and_beyond_it_does_not() -> None:
    """Two rows of 200 are the tolerance of 0.01; the share of worse resamples is the second criterion."""
    champion = model(20)
    for more, passed in ((1, True), (2, True), (6, False)):
        assert gate(model(20 + more), champion, GateRules(log_loss_tolerance=1)).passed is passed, more
    assert gate(model(26), champion, GateRules(accuracy_tolerance=0.05, log_loss_tolerance=1)).passed
    assert gate(model(26), champion, GateRules(max_worse_share=1, log_loss_tolerance=1)).passed


def test_log_loss_alone_can_reject() -> None:
    result = gate(model(20, sure=0.6), model(20, sure=0.9))
    assert not result.passed
    assert [reason[:12] for reason in result.reasons] == ["Its log loss"]


def test_the_interval_is_the_bootstraps() -> None:
    """For the mean of 200 differences of -1, 0 and 1, it is close to 1.96 standard errors on either side."""
    champion, challenger = model(40, seed=1), model(10)
    differences = (challenger.argmax(1) == LABELS) * 1.0 - (champion.argmax(1) == LABELS)
    accuracy = gate(challenger, champion, GateRules(resamples=20_000)).comparisons[0]
    error = differences.std() / np.sqrt(len(LABELS))
    assert accuracy.low == pytest.approx(accuracy.gain - 1.96 * error, abs=0.006)
    assert accuracy.high == pytest.approx(accuracy.gain + 1.96 * error, abs=0.006)


def test_the_same_seed_gives_the_same_verdict() -> None:
    first, again = (gate(model(26), model(20)) for _ in range(2))
    assert first == again


def test_force_is_recorded_only_where_it_was_needed() -> None:
    worse = gate(model(60, seed=1), model(10), forced=True)
    assert (worse.passed, worse.forced) == (False, True) and worse.reasons
    better = gate(model(10), model(60, seed=1), forced=True)
    assert (better.passed, better.forced) == (True, False)


def test_a_champion_of_another_table_is_not_compared_but_thresholds_hold() -> None:
    sentence = "The champion v1 has other features, so the two were not compared."
    result = gate(model(20), note=sentence)
    assert (result.passed, result.reasons) == (True, [sentence])
    strict = gate(model(20), rules=GateRules(min_accuracy=0.99), note=sentence)
    assert not strict.passed and strict.reasons[-1] == sentence


def test_probabilities_of_other_rows_are_an_error() -> None:
    for challenger, champion in ((model(1)[:-1], None), (model(1)[:, :2], None), (model(1), model(1)[:50])):
        with pytest.raises(ValueError, match="probabilities of shape"):
            gate(challenger, champion)


def test_row_losses_equal_scikit_learns_even_at_probability_zero() -> None:
    probabilities = model(30)
    probabilities[5] = (0, 0, 1)
    normalised = probabilities.astype(float) / probabilities.sum(axis=1, keepdims=True, dtype=float)
    assert row_log_losses(LABELS, probabilities).mean() == pytest.approx(log_loss(LABELS, normalised), rel=1e-9)


def test_many_held_out_rows_need_little_memory() -> None:
    """Memory does not grow with resamples times rows, and the interval is still 1.96 standard errors of all rows."""
    labels = np.tile(LABELS, 250)
    champion, challenger = (np.tile(model(40, seed=seed), (250, 1)) for seed in (0, 1))
    tracemalloc.start()
    rules = GateRules(resamples=500)
    result = decide(rules, labels, challenger, shares=SHARES, champion=("v1", champion), seed=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6
    accuracy = result.comparisons[0]
    differences = (challenger.argmax(1) == labels) * 1.0 - (champion.argmax(1) == labels)
    error = differences.std() / np.sqrt(len(labels))
    assert accuracy.gain == differences.mean()
    assert (accuracy.high - accuracy.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.15)
