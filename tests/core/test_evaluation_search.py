"""The search for a fit, on scores that are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lipflow.checks import InputError
from lipflow.evaluation.search import SPACES, SearchSpace, chosen_fit, search
from lipflow.fitting import FitConfig
from lipflow.serial import to_json

CANDIDATES = tuple(FitConfig(learning_rate=rate) for rate in (0.01, 0.02, 0.04, 0.08))


def test_the_better_half_goes_on_with_more_iterations() -> None:
    space = SearchSpace(CANDIDATES, rungs=(5, 10, 20))
    found = search(lambda fit: fit.learning_rate + fit.iterations / 1000, space)
    tried = [(trial.config.learning_rate, trial.config.iterations) for trial in found.trials]
    assert tried == [(0.01, 5), (0.02, 5), (0.04, 5), (0.08, 5), (0.08, 10), (0.04, 10), (0.08, 20)]
    assert (found.config.learning_rate, found.config.iterations) == (0.08, 20)


def test_a_short_fit_is_taken_where_long_ones_lead_astray() -> None:
    found = search(lambda fit: fit.learning_rate - fit.iterations / 100, SearchSpace(CANDIDATES, rungs=(5, 10, 20)))
    assert (found.config.learning_rate, found.config.iterations) == (0.08, 5)


def test_every_model_gets_the_same_budget() -> None:
    budgets = []
    for best in (0.01, 0.08):
        trials = search(lambda fit, best=best: -abs(fit.learning_rate - best), SPACES["hmc"]).trials
        budgets.append(sorted(trial.config.iterations for trial in trials))
    assert budgets[0] == budgets[1]


def test_a_fit_that_was_chosen_before_edges_could_be_smoothed_had_hard_ones() -> None:
    stored = to_json(CANDIDATES[0])
    assert chosen_fit(stored, what="fit") == CANDIDATES[0]
    del stored["edges"]
    assert chosen_fit(stored, what="fit") == replace(CANDIDATES[0], edges="hard")
    with pytest.raises(InputError, match="fit"):
        chosen_fit([], what="fit")


def test_a_score_that_cannot_be_told_is_the_worst() -> None:
    found = search(lambda fit: math.nan if fit.learning_rate > 0.01 else -99.0, SearchSpace(CANDIDATES, rungs=(5, 10)))
    assert found.config.learning_rate == 0.01


def test_among_equals_the_first_is_taken() -> None:
    found = search(lambda fit: 1.0, SearchSpace(CANDIDATES, rungs=(5, 10)))
    assert found.chosen == 0
