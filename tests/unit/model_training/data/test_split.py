"""Which rows are held out."""

from dataclasses import replace

import numpy as np
import pytest

from model_training.data.datasets import DATASETS, DataError, Dataset
from model_training.data.split import split


def table(rows: int, seed: int = 0) -> Dataset:
    """Return random rows; a larger table starts with those of a smaller one."""
    values = np.random.default_rng(seed).normal(size=(3000, 4))
    return replace(
        DATASETS["iris"](), X=values[:rows], y=(values[:rows, 0] > 0).astype(np.int64) + (values[:rows, 1] > 1)
    )


def test_every_row_is_on_one_side_and_each_class_has_its_share() -> None:
    digits = DATASETS["digits"]()
    train, test = split(digits, 0.2, 42)
    assert sorted([*train, *test]) == list(range(len(digits.y)))
    assert len(test) == 360
    assert np.abs(np.bincount(digits.y[test]) - 0.2 * np.bincount(digits.y)).max() < 1


def test_a_growing_table_keeps_its_held_out_rows() -> None:
    """Otherwise the champion would be evaluated on rows it was trained on, and every successor rejected."""
    before, after = table(1500), table(1600)
    learnt, held_out = map(set, split(before, 0.2, 42))
    _, now = split(after, 0.2, 42)
    assert len(learnt.intersection(now)) <= 0.03 * len(now)
    assert len(held_out.intersection(now)) >= 0.9 * len(held_out)


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does() -> None:
    data = table(500)
    order = np.random.default_rng(1).permutation(500)
    shuffled = replace(data, X=np.asfortranarray(data.X[order]), y=data.y[order])
    for rows, others in zip(split(data, 0.2, 42), split(shuffled, 0.2, 42), strict=True):
        assert np.array_equal(data.X[rows], shuffled.X[others])
    _, another = split(data, 0.2, 43)
    assert len(set(another).intersection(split(data, 0.2, 42)[1])) < 50


def test_a_repeated_row_is_not_on_both_sides() -> None:
    data = table(300)
    twice = replace(data, X=np.concatenate([data.X, data.X]), y=np.concatenate([data.y, data.y]))
    train, test = split(twice, 0.2, 42)
    both = {tuple(row) for row in twice.X[train]}.intersection(map(tuple, twice.X[test]))
    assert len(both) <= len(data.classes)


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_too_few_rows_are_a_sentence(share: float) -> None:
    with pytest.raises(DataError, match="Each class needs rows on both sides"):
        split(DATASETS["iris"](), share, 42)
