"""L-BFGS, for observations that are compared as images (Nocedal and Wright 2006, Section 7.2).

It learns the energy's curvature from the last steps, where Adam only learns the gradient's size: a third of Adam's
evaluations reach the same energy. One iteration is one evaluation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lipflow.solvers.base import SolverConfig
from lipflow.solvers.problem import Point, Problem

Evaluate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Unknowns [N, Z] of the rows [N] -> their energies [N] float64 and gradients [N, Z]."""


class Descent:
    """L-BFGS on B energies at once, each with an unknown, a memory and a pace of its own.

    The unknowns are whitened codes: a first step, before any curvature is known, is then of a sensible length.
    """

    PAIRS = 10  # steps that are remembered
    FIRST = 1.0  # length of a step that no memory scales, at most: one standard deviation
    ENOUGH = 1e-4  # share of what the slope promises by which the energy must fall (Armijo)
    SHORTER = 0.1, 0.5  # a length that failed is multiplied by the parabola's choice, between these
    LEAST = 1e-3  # length; below, the memory is at fault
    ANEW = 0.1  # length of the first step after the memory was at fault
    WINDOW = 10  # evaluations; converged if they lowered the energy by less than the tolerance

    def __init__(self, evaluate: Evaluate, unknown: Tensor, tolerance: float) -> None:
        self._evaluate, self._tolerance = evaluate, tolerance
        count, rows = len(unknown), torch.arange(len(unknown), device=unknown.device)
        self.unknown = unknown.clone()  # [B, Z]
        self.energy, self.gradient = evaluate(unknown, rows)  # [B] float64, [B, Z]
        self.converged = torch.zeros_like(rows, dtype=torch.bool)
        # Newest last; the last energies are of so many evaluations ago.
        self._steps, self._turns = (unknown.new_zeros(self.PAIRS, *unknown.shape) for _ in range(2))
        self._inverse = unknown.new_zeros(self.PAIRS, count)  # 1 / (step · turn); 0 where nothing is remembered
        self._before = torch.full_like(self.energy, torch.inf)[:, None].repeat(1, self.WINDOW)
        self._length = unknown.new_ones(count)
        self._way = torch.zeros_like(unknown)
        self._aim(rows)

    def step(self, rows: Tensor) -> Tensor:
        """Try one length of some rows' way; whether each of them moved, [N]."""
        self._before[rows] = torch.cat([self._before[rows, 1:], self.energy[rows, None]], dim=1)
        way, length = self._way[rows], self._length[rows]
        trial = self.unknown[rows] + length[:, None] * way
        energy, gradient = self._evaluate(trial, rows)
        slope = (self.gradient[rows] * way).sum(-1)
        fell = energy <= self.energy[rows] + self.ENOUGH * (length * slope).double()  # False for NaN
        taken = fell & torch.isfinite(gradient).all(-1)
        self._take(rows[taken], trial[taken], energy[taken], gradient[taken])
        rise = (energy - self.energy[rows]).to(slope)
        lowest = -0.5 * length * slope / (rise - length * slope)  # of the length: the parabola's through both
        self._shorten(rows[~taken], torch.nan_to_num(lowest).clamp(*self.SHORTER)[~taken])
        fall = self._before[rows, 0] - self.energy[rows]
        self.converged[rows] |= fall < self._tolerance * self.energy[rows].abs().clamp_min(1.0)
        return taken

    def _take(self, rows: Tensor, unknown: Tensor, energy: Tensor, gradient: Tensor) -> None:
        step, turn = unknown - self.unknown[rows], gradient - self.gradient[rows]
        along = (step * turn).sum(-1)
        bowl = along > 1e-6 * step.norm(dim=-1) * turn.norm(dim=-1)  # else there is no curvature to learn
        self._remember(rows[bowl], step[bowl], turn[bowl], along[bowl])
        self.unknown[rows], self.energy[rows], self.gradient[rows] = unknown, energy, gradient
        self._length[rows] = 1.0
        self._aim(rows)

    def _shorten(self, rows: Tensor, by: Tensor) -> None:
        self._length[rows] *= by
        lost = rows[self._length[rows] < self.LEAST]
        self.converged[lost] |= self._inverse[-1, lost] == 0  # even straight down there is nothing lower
        self._inverse[:, lost] = 0.0
        self._length[lost] = self.ANEW
        self._aim(lost)

    def _remember(self, rows: Tensor, step: Tensor, turn: Tensor, along: Tensor) -> None:
        for kept, new in ((self._steps, step), (self._turns, turn), (self._inverse, 1 / along)):
            kept[:, rows] = torch.cat([kept[1:, rows], new[None]])

    def _aim(self, rows: Tensor) -> None:
        """Point some rows' way down: −(the inverse of the remembered curvature) · gradient, by two loops."""
        steps, turns, inverse = self._steps[:, rows], self._turns[:, rows], self._inverse[:, rows, None]
        gradient = self.gradient[rows]
        toward, shares = gradient.clone(), torch.zeros_like(inverse)
        for k in reversed(range(self.PAIRS)):
            shares[k] = inverse[k] * (steps[k] * toward).sum(-1, keepdim=True)
            toward -= shares[k] * turns[k]
        down = self.FIRST / gradient.norm(dim=-1, keepdim=True).clamp_min(self.FIRST)
        newest = 1 / (inverse[-1] * turns[-1].square().sum(-1, keepdim=True))  # infinite where there is none
        toward *= torch.where(inverse[-1] > 0, newest, down)
        for k in range(self.PAIRS):
            toward += steps[k] * (shares[k] - inverse[k] * (turns[k] * toward).sum(-1, keepdim=True))
        up = ((toward * gradient).sum(-1, keepdim=True) <= 0).expand_as(toward)  # by rounding alone
        self._way[rows] = -torch.where(up, down * gradient, toward)


class Lbfgs:
    """L-BFGS on one code's whitened form, whatever the space of its density."""

    _tried: Point  # what was evaluated last

    def __init__(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self._start_at(problem, z, config)

    def replace(self, problem: Problem, config: SolverConfig) -> None:
        """Go on with another problem: the code stays; the curvature was the other's."""
        self._start_at(problem, self.point.z, config)

    def settle(self) -> None:
        """Nothing to do: a step is only taken where the energy falls."""

    def _start_at(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self.problem, self.converged = problem, False
        with torch.no_grad():
            w, _ = problem.whiten(z.detach()[None])
        self._descent = Descent(self._evaluate, w, config.tolerance)
        self.point = self._tried

    def gradient(self) -> Tensor:
        return self._descent.gradient[0]

    def step(self) -> None:
        only = torch.zeros(1, dtype=torch.long, device=self.problem.mu.device)
        if bool(self._descent.step(only)):
            self.point = self._tried
        self.converged = bool(self._descent.converged)

    def _evaluate(self, unknown: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        self._tried, gradient = self.problem.evaluate(unknown[0], whitened=True)
        return torch.tensor([self._tried.energy], dtype=torch.float64, device=gradient.device), gradient[None]
