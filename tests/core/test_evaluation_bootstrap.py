"""Intervals on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from lipflow.evaluation.bootstrap import Sample, interval, paired


def sample(
    rng: np.random.Generator, *, expressions: int = 8, frames: int = 4, seeds: int = 3, spread: float = 1.0
) -> Sample:
    """Figures with a mean of 0: an effect of each expression, a smaller one of each seed, and noise."""
    of_expression = rng.normal(0, spread, expressions).repeat(frames)
    of_seed = rng.normal(0, 0.3 * spread, (seeds, 1))
    noise = rng.normal(0, 0.5 * spread, (seeds, expressions * frames))
    names = tuple(f"e{k}" for k in np.arange(expressions).repeat(frames))
    return Sample(of_expression + of_seed + noise, names)


def test_intervals_cover_the_true_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    drawn = [interval([sample(rng), sample(rng)], draws=500, seed=k) for k in range(300)]
    covered = np.mean([i.low <= 0 <= i.high for i in drawn if i.low is not None and i.high is not None])
    assert 0.92 < covered < 0.985


def test_frames_of_one_expression_count_once_and_not_each() -> None:
    rng = np.random.default_rng(1)
    few = sample(rng, expressions=5, frames=2)
    many = Sample(few.values.repeat(50, axis=1), tuple(np.repeat(few.expressions, 50)))
    a, b = interval([few]), interval([many])
    assert b.high - b.low == pytest.approx(a.high - a.low, rel=1e-6)
    assert b.mean == pytest.approx(a.mean)


def test_the_mean_is_over_subjects_whatever_their_numbers_of_frames() -> None:
    small = Sample(np.zeros((1, 2)), ("a", "b"))
    large = Sample(np.ones((3, 40)), tuple("ab" * 20))
    assert interval([small, large]).mean == pytest.approx(0.5)


def test_one_expression_tells_no_interval() -> None:
    found = interval([Sample(np.array([[1.0, 3.0], [2.0, 2.0]]), ("only", "only"))])
    assert found.mean == 2.0
    assert found.low is None
    assert found.high is None
    assert interval([Sample(np.full((2, 3), np.nan), ("a", "b", "c"))]).mean is None
    assert interval([]).mean is None


def test_fewer_expressions_give_wider_intervals() -> None:
    values = np.array([[-1.0, 0.2, 0.8]])
    wide = interval([Sample(values, tuple("abc"))])
    narrow = interval([Sample(np.tile(values, 4), tuple("abcdefghijkl"))])
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_a_figure_that_is_missing_is_left_out() -> None:
    values = np.array([[1.0, np.nan, 3.0, np.inf]])
    found = interval([Sample(values, ("a", "a", "b", "b"))])
    assert found.mean == 2.0
    assert found.low is not None
    assert 1.0 <= found.low <= found.high <= 3.0


def test_the_same_seed_draws_the_same_interval() -> None:
    data = [sample(np.random.default_rng(3))]
    assert interval(data, seed=4) == interval(data, seed=4)
    assert interval(data, seed=4) != interval(data, seed=5)


def test_pairing_takes_the_difficulty_of_frames_out() -> None:
    rng = np.random.default_rng(5)
    reference = sample(rng, spread=3.0)
    better = Sample(reference.values + 0.1 + rng.normal(0, 0.02, reference.values.shape), reference.expressions)
    alone, difference = interval([better]), interval([paired(better, reference)])
    assert alone.high - alone.low > 1.0
    assert 0.08 < difference.low < difference.mean < difference.high < 0.12
    with pytest.raises(ValueError, match="different frames"):
        paired(better, Sample(reference.values, reference.expressions[::-1]))


def test_expressions_that_subjects_share_are_drawn_together() -> None:
    """What makes an expression hard is hard for all: two copies of one subject tell no more than one of them."""
    one = sample(np.random.default_rng(6), seeds=1)
    other = Sample(one.values, tuple(f"other {name}" for name in one.expressions))
    width = {n: i.high - i.low for n, i in (("one", interval([one])), ("same", interval([one, one])))}
    apart = interval([one, other])
    assert width["same"] == pytest.approx(width["one"], rel=0.15)
    assert apart.high - apart.low < 0.85 * width["same"]
