"""L-BFGS, for observations that are compared as images (Nocedal and Wright 2006, Section 7.2).

It learns the energy's curvature from the last steps, where Adam only learns the gradient's size: under a
learned prior, a third of Adam's evaluations reach the same energy. One iteration is one evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.solvers.base import SolverConfig
from lipflow.solvers.problem import Point, Problem

Array = npt.NDArray[np.floating]
Index = npt.NDArray[np.integer]
Evaluate = Callable[[Array, Index], tuple[Array, Array]]
"""Unknowns [N, Z] of the rows [N] -> their energies [N] float64 and gradients [N, Z]."""


class Descent:
    """L-BFGS on B energies at once, each with an unknown, a memory and a pace of its own.

    The unknowns are whitened codes: a first step, before any curvature is known, is then of a sensible length. All of
    it is in numpy: at a code's size torch's calls take four times as long.

    Renders are rough where triangles are narrower than a pixel (lashes): the energy jumps by more than a short step
    lowers it. So a step may end a little above the best place that was seen; one that must fall soon finds none. And
    where not even straight down one is found, a short one is taken as it comes: there may be lower ground behind.
    """

    PAIRS = 10  # steps that are remembered
    FIRST = 1.0  # length of a step that no memory scales, at most: one standard deviation
    # A step is taken if the energy falls by this share of what the slope promises (Armijo), or ends above the best one
    # by less than the tolerance's share of that.
    ENOUGH = 1e-4
    SHORTER = 0.1, 0.5  # a length that failed is multiplied by the parabola's choice, between these
    LEAST = 1e-3  # length; below, the memory is at fault, or without one the ground is rough
    ANEW = 0.1  # length of the first step after that
    WINDOW = 20  # evaluations; converged if they lowered the best energy by less than the tolerance

    def __init__(self, evaluate: Evaluate, unknown: Array, tolerance: float) -> None:
        self._evaluate, self._tolerance = evaluate, tolerance
        rows = np.arange(len(unknown))
        self.unknown = unknown.copy()  # [B, Z]
        self.energy, self.gradient = evaluate(unknown, rows)  # [B], [B, Z]
        self.best, self.best_energy = self.unknown.copy(), self.energy.copy()
        self.converged = np.zeros(len(rows), dtype=bool)
        # Newest last; the first of the best energies is of so many evaluations ago.
        self._steps, self._turns = (np.zeros((self.PAIRS, *unknown.shape), unknown.dtype) for _ in range(2))
        self._inverse = np.zeros((self.PAIRS, len(rows)))  # 1 / (step · turn); 0 where nothing is remembered
        self._before = np.full((self.WINDOW, len(rows)), np.inf)
        self._length = np.ones(len(rows))
        self._leaps = np.zeros(len(rows), dtype=bool)
        self._way = np.zeros_like(unknown)
        self._aim(rows)

    def step(self, rows: Index) -> npt.NDArray[np.bool_]:
        """Try one length of some rows' way; whether each of them moved, [N]."""
        best = self.best_energy[rows]
        self._push(self._before, rows, best)
        way, length = self._way[rows], self._length[rows]
        trial = self.unknown[rows] + (length[:, None] * way).astype(way.dtype)
        energy, gradient = self._evaluate(trial, rows)
        promised = length * _dot(self.gradient[rows], way)  # the slope's, below 0
        rise = energy - self.energy[rows]
        bearable = best + self._tolerance * np.abs(best).clip(1.0)
        taken = (rise <= self.ENOUGH * promised) | (energy < bearable)  # False for NaN
        taken |= self._leaps[rows] & np.isfinite(energy)
        taken &= np.isfinite(gradient).all(-1)
        self._take(rows[taken], trial[taken], energy[taken], gradient[taken])
        if not taken.all():
            with np.errstate(invalid="ignore"):  # where the energy is no number
                lowest = np.nan_to_num(-0.5 * promised / (rise - promised))  # of the parabola through both
            self._shorten(rows[~taken], lowest.clip(*self.SHORTER)[~taken])
        fall = self._before[0, rows] - self.best_energy[rows]
        self.converged[rows] |= fall < self._tolerance * np.abs(self.best_energy[rows]).clip(1.0)
        return taken

    def _take(self, rows: Index, unknown: Array, energy: Array, gradient: Array) -> None:
        step, turn = unknown - self.unknown[rows], gradient - self.gradient[rows]
        along = _dot(step, turn)
        bowl = along > 1e-6 * np.sqrt(_dot(step, step) * _dot(turn, turn))  # else there is no curvature to learn
        for kept, new in ((self._steps, step), (self._turns, turn)):
            self._push(kept, rows[bowl], new[bowl])
        self._push(self._inverse, rows[bowl], 1 / along[bowl])
        self.unknown[rows], self.energy[rows], self.gradient[rows] = unknown, energy, gradient
        better = energy < self.best_energy[rows]
        self.best[rows[better]], self.best_energy[rows[better]] = unknown[better], energy[better]
        self._length[rows], self._leaps[rows] = 1.0, False
        self._aim(rows)

    def _shorten(self, rows: Index, by: Array) -> None:
        self._length[rows] *= by
        lost = rows[self._length[rows] < self.LEAST]
        self._leaps[lost] = self._inverse[-1, lost] == 0  # it was straight down already: the next is taken as it comes
        self._inverse[:, lost] = 0.0
        self._length[lost] = self.ANEW
        self._aim(lost)

    def _aim(self, rows: Index) -> None:
        """Point some rows' way down: −(the inverse of the remembered curvature) · gradient, by two loops."""
        steps, turns, inverse = self._steps[:, rows], self._turns[:, rows], self._inverse[:, rows]
        gradient = self.gradient[rows]
        toward, shares = gradient.astype(float), np.zeros_like(inverse)
        for k in reversed(range(self.PAIRS)):
            shares[k] = inverse[k] * _dot(steps[k], toward)
            toward -= shares[k, :, None] * turns[k]
        down = self.FIRST / np.sqrt(_dot(gradient, gradient)).clip(self.FIRST)
        known = inverse[-1] > 0
        toward *= np.where(known, 1 / np.where(known, inverse[-1] * _dot(turns[-1], turns[-1]), 1.0), down)[:, None]
        for k in range(self.PAIRS):
            toward += (shares[k] - inverse[k] * _dot(turns[k], toward))[:, None] * steps[k]
        up = _dot(toward, gradient) <= 0  # by rounding alone
        self._way[rows] = -np.where(up[:, None], down[:, None] * gradient, toward)

    @staticmethod
    def _push(kept: Array, rows: Index, new: Array) -> None:
        """Put what is new of some rows behind what is kept of them, whose oldest goes."""
        kept[:-1, rows] = kept[1:, rows]
        kept[-1, rows] = new


def _dot(a: Array, b: Array) -> Array:
    """[N, Z] each -> [N] float64."""
    return np.einsum("nz,nz->n", a, b, dtype=float)


class _Trials:
    """One problem's energies, as ``Descent`` asks for them.

    Not the solver itself: the descent holds whom it asks, and the two would keep each other, and renders of several
    megabytes, until Python looks for such pairs.
    """

    newest: Point  # what was evaluated last

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def __call__(self, unknown: Array, _: Index) -> tuple[Array, Array]:
        w = torch.from_numpy(unknown[0]).to(self._problem.mu)
        self.newest, gradient = self._problem.evaluate_whitened(w)
        return np.array([self.newest.energy]), gradient.cpu().numpy()[None]


class Lbfgs:
    """L-BFGS on one code's whitened form, whatever the space of its density."""

    _best: Point

    def __init__(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self._start_at(problem, z, config)

    def replace(self, problem: Problem, config: SolverConfig) -> None:
        """Go on with another problem: the code stays; the curvature was the other's."""
        self._start_at(problem, self.point.z, config)

    def settle(self) -> None:
        """Take the best point: a step may rise a little."""
        self.point = self._best

    def _start_at(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self.problem, self.converged = problem, False
        with torch.no_grad():
            w, _ = problem.whiten(z.detach()[None])
        self._trials = _Trials(problem)
        self._descent = Descent(self._trials, w.cpu().numpy(), config.tolerance)
        # What was given, where whitened and back rounding moves it.
        self.point = self._best = replace(self._trials.newest, z=z.detach())

    def gradient(self) -> Tensor:
        return torch.from_numpy(self._descent.gradient[0]).to(self.problem.mu)

    def step(self) -> None:
        if self._descent.step(np.zeros(1, dtype=int))[0]:
            self.point = self._trials.newest
            self._best = min(self._best, self.point, key=lambda point: point.energy)
        self.converged = bool(self._descent.converged[0])
