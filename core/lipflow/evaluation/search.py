"""Choosing how to fit: the same candidates, frames and budget for every model, on validation frames only.

Successive halving (Jamieson and Talwalkar 2016): all candidates run for a few iterations, the better half for twice as
many, and so on. The score of every run counts, so the search also finds how many iterations are best.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from lipflow.fitting import FitConfig
from lipflow.serial import from_json

_BFGS = FitConfig(optimiser="lbfgs", prior_weight=1.0)
_ADAM = FitConfig(optimiser="adam", learning_rate=0.1, prior_weight=1.0)
_NEWTON = FitConfig(optimiser="lm", iterations=20, prior_weight=1.0)


@dataclass(frozen=True)
class SearchSpace:
    """What is tried for one kind of observation, whatever the model."""

    candidates: tuple[FitConfig, ...]
    rungs: tuple[int, ...]  # iterations that all candidates get, then the better half, then its better half …


_IMAGES = SearchSpace(
    (
        _BFGS,
        replace(_BFGS, prior_weight=0.1),
        replace(_BFGS, prior_weight=0.3),
        replace(_BFGS, prior_weight=3.0),
        replace(_BFGS, space="u", prior_weight=0.3),
        replace(_BFGS, start="zero"),
        replace(_BFGS, edges="hard"),
        _ADAM,
        replace(_ADAM, learning_rate=0.2),
    ),
    rungs=(15, 30, 60),
)
_LANDMARKS = SearchSpace(  # fits of milliseconds: more of them
    (
        *(replace(_NEWTON, prior_weight=weight) for weight in (1.0, 0.1, 0.3, 3.0, 10.0)),
        *(replace(_NEWTON, space="u", prior_weight=weight) for weight in (1.0, 0.1, 0.3, 3.0, 10.0)),
        replace(_NEWTON, start="zero"),
        replace(_NEWTON, space="u", start="zero"),
    ),
    rungs=(20,),
)
SPACES = {"hmc": _IMAGES, "frontal": _IMAGES, "kpt": _LANDMARKS}  # by what a row's fit explains


def chosen_fit(body: object, *, what: str) -> FitConfig:
    """A fit that an evaluation's file says was chosen; those of before edges could be smoothed had hard ones.

    Raises:
        InputError: if it is none.
    """
    return from_json(FitConfig, {"edges": "hard", **body} if isinstance(body, dict) else body, what=what)


@dataclass(frozen=True)
class Trial:
    """One run of one candidate."""

    config: FitConfig
    score: float  # higher is better; NaN where it could not be told


@dataclass(frozen=True)
class Search:
    """All that was tried, and what is taken."""

    trials: tuple[Trial, ...]
    chosen: int  # in trials

    @property
    def config(self) -> FitConfig:
        return self.trials[self.chosen].config


def search(score: Callable[[FitConfig], float], space: SearchSpace) -> Search:
    """Run the candidates of ``space`` and take the best run; among equals the earlier, which is the cheaper one."""
    trials: list[Trial] = []
    going = list(space.candidates)
    for iterations in space.rungs:
        rung = [replace(candidate, iterations=iterations) for candidate in going]
        scores = [score(config) for config in rung]
        trials += [Trial(config, value) for config, value in zip(rung, scores)]
        order = sorted(range(len(going)), key=lambda k: -_rank(scores[k]))  # stable
        going = [going[k] for k in order[: -(-len(going) // 2)]]
    return Search(tuple(trials), max(range(len(trials)), key=lambda k: _rank(trials[k].score)))


def _rank(score: float) -> float:
    return -math.inf if math.isnan(score) else score
