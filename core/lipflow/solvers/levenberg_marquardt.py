"""Levenberg–Marquardt, for observations that can be linearised: keypoints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from torch import Tensor

from lipflow.observations import Against, Difference, LeastSquares
from lipflow.priors.base import Array, Carry, InverseJacobian, Passage
from lipflow.solvers.base import SolverConfig
from lipflow.solvers.problem import LOG_2PI, Point, Problem


@dataclass(frozen=True, eq=False)
class _Model:
    """The energy near a code by the whitened step s: −descent·s + ½ s·(λ I + Mᵀ G M) s. On the host."""

    descent: Tensor  # [Z] float64
    features: Tensor  # M [R, Z] float64, the decoder's features by the whitened code
    curvature: Tensor  # G [R, R] float64, of the data by those features
    weight: float  # λ

    def step(self, damping: float) -> tuple[Array, float] | None:
        """The step [Z] with ``damping`` added to λ, and by how much the energy should fall; None if it breaks down.

        By (a I + Mᵀ G M)⁻¹ = (I − Mᵀ G (a I + M Mᵀ G)⁻¹ M) / a there are R equations instead of Z.
        """
        total, M = self.weight + damping, self.features
        system = M @ M.T @ self.curvature
        system.diagonal().add_(total)
        found, failed = torch.linalg.solve_ex(system, M @ self.descent)
        step = (self.descent - M.T @ (self.curvature @ found)) / total
        promised = 0.5 * float(self.descent @ step + damping * (step @ step))
        return None if int(failed) or not math.isfinite(promised) else (step.numpy(), promised)


@dataclass(frozen=True, eq=False)
class _Place:
    """A code that was evaluated, and what was kept to differentiate there. It lives on the host and in numpy."""

    problem: Problem
    z: Array  # [Z]
    w: Array  # [Z] whitened
    energy: float
    data_energy: float
    log_likelihood: float
    passage: Passage  # how the prior takes it
    difference: Difference  # how the observation does

    @cached_property
    def point(self) -> Point:
        like = self.problem.mu
        z, w = torch.from_numpy(self.z).to(like), torch.from_numpy(self.w).to(like)
        shown = {name: torch.from_numpy(array).to(like) for name, array in self.difference.shown.items()}
        return Point(z, w, self.energy, self.data_energy, self.log_likelihood, shown)


class LevenbergMarquardt:
    """Damped Gauss–Newton for observations that can be linearised, in steps of the whitened code: there, the prior's
    curvature is λ I, and damping is more of the same (it grows as in Nielsen's rule).

    That curvature is exact for a Gaussian; for a flow it is what a locally linear F would have. ∂z/∂u, the dear part,
    is kept until a step gains little, also for the next problem. The gradient is always exact and a step is taken
    only if the true energy falls: that economy costs no accuracy. Where a step gains little, shorter ones are tried,
    since the networks' rectifiers bend the energy within a step's reach. A trial costs no derivative, so a code that
    is never stepped from, because another problem takes over, is never differentiated at.

    Where no length of a step helps, one may stand in a corner: at z = 0, the start under N(0, I), the decoder's
    rectifiers all bend at once and the derivative is that of no direction. Then a few full steps are taken as they
    come, and kept if they end below the start (the watchdog of Chamberlain and others, 1982).
    """

    ATTEMPTS = 8  # dampings tried within one iteration
    SHORTER = 4  # lengths tried of one step
    AHEAD = 4  # full steps out of a corner
    PATIENCE = 2  # dampings that failed before a point is taken for one: the steps out of it cost derivatives
    GOOD, POOR = 0.5, 0.25  # shares of what was promised: below, shorter steps are tried; ∂z/∂u is computed afresh
    START, LEAST, MOST = 0.1, 1e-6, 1e7  # damping, in units of the prior's curvature at λ = 1

    def __init__(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self._damping, self._growth = self.START, 2.0
        self._z_by_u: InverseJacobian | None = None
        self._z_by_u_is_new = False  # whether it was computed at the place
        self._start_at(problem, z.detach().cpu().numpy(), config)

    @property
    def point(self) -> Point:
        return self._place.point

    def replace(self, problem: Problem, config: SolverConfig) -> None:
        """Go on with another problem: the code, the damping and ∂z/∂u stay."""
        if problem.prior is not self.problem.prior:
            self._z_by_u = None
        self._start_at(problem, self._place.z, config, self._against, self._carry)

    def settle(self) -> None:
        """Nothing to do: a step is only taken where the energy falls."""

    def _start_at(
        self,
        problem: Problem,
        z: Array,
        config: SolverConfig,
        against: Against | None = None,  # the observation before, and the prior under the context before
        carry: Carry | None = None,
    ) -> None:
        self.problem, self._tolerance = problem, config.tolerance
        self._against = cast(LeastSquares, problem.observation).against(problem.avatar, against)
        self._carry = problem.prior.under(problem.context, carry)
        self._mu, log_sigma = problem.mu.cpu().numpy(), problem.log_sigma.cpu().numpy()
        self._sigma, self._log_sigmas = np.exp(log_sigma), float(log_sigma.sum())
        self.converged = False
        self._place = self._evaluate(z)

    def gradient(self) -> Tensor:
        return torch.from_numpy(self._slope()[0]).to(self.problem.mu)

    def step(self) -> None:
        model = self._model()
        for attempt in range(self.ATTEMPTS):
            found = model.step(self._damping)
            if found is not None and self._attempt(model, *found):
                return
            if self._z_by_u_is_new:
                if attempt == self.PATIENCE and self._leave_corner(found):
                    return
                self._damp()
            else:
                self._z_by_u = None
                model = self._model()
        self.converged = True  # the gradient is exact, so only rounding is left

    def _attempt(self, model: _Model, step: Array, promised: float) -> bool:
        """Try a whitened step [Z]; whether this iteration is over."""
        before, way = self._place, self._way(step)
        trial = self._evaluate(before.z + way)
        share = (before.energy - trial.energy) / max(promised, 1e-12)
        if not share >= self.GOOD:  # also where it is NaN
            trial = self._shorten(way, -float(model.descent.numpy() @ step), trial)
        if trial.energy <= before.energy:  # False for NaN
            self._place = trial
            if share >= self.POOR:
                self._damping = max(self._damping * (1 / 3 if share > self.GOOD else 1.0), self.LEAST)
                self._growth = 2.0
            else:
                self._damp()
                if not self._z_by_u_is_new:
                    self._z_by_u = None
            self._z_by_u_is_new = False
        self.converged = promised <= self._tolerance * max(abs(before.energy), 1.0)
        return self._place is trial or self.converged

    def _way(self, step: Array) -> Array:
        """A whitened step [Z] as one of the code, [Z]."""
        assert self._z_by_u is not None  # the model has seen to it
        return self._z_by_u.apply(step.astype(self._sigma.dtype) * self._sigma)

    def _leave_corner(self, found: tuple[Array, float] | None) -> bool:
        """Take full steps, the first as ``found``, until one ends below the place; whether one did."""
        start = self._place, self._z_by_u
        for _ in range(self.AHEAD):
            if found is None:
                break
            self._place = self._evaluate(self._place.z + self._way(found[0]))
            self._z_by_u, self._z_by_u_is_new = None, False
            if self._place.energy < start[0].energy:
                return True
            if not math.isfinite(self._place.energy):
                break
            found = self._model().step(self._damping)
        self._place, self._z_by_u = start
        self._z_by_u_is_new = True
        return False

    def _damp(self) -> None:
        self._damping, self._growth = min(self._damping * self._growth, self.MOST), self._growth * 2

    def _shorten(self, way: Array, slope: float, trial: _Place) -> _Place:
        """The lowest place found on the way to ``trial``, by parabolas; ``slope`` is the energy's at its start."""
        start, length, best = self._place, 1.0, trial
        for _ in range(self.SHORTER):
            bend = trial.energy - start.energy - slope * length
            lowest = -0.5 * slope * length**2 / bend if bend > 0 else 0.0  # of the parabola; bend may be NaN
            length = min(max(lowest, 0.1 * length), 0.6 * length)
            trial = self._evaluate(start.z + length * way)
            if not best.energy <= trial.energy:
                best = trial
            elif best.energy <= start.energy:
                break
            if start.energy - trial.energy >= -self.POOR * slope * length:
                break
        return best

    def _evaluate(self, z: Array) -> _Place:
        """What z [Z] costs."""
        problem = self.problem
        # A step may go too far, behind the camera even: its energy is then no number.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            difference, passage = self._against(z), self._carry(z)
            data = 0.5 * float(difference.residual @ difference.residual)
            w = (passage.u - self._mu) / self._sigma
            log_normal = -0.5 * float(w @ w) - self._log_sigmas - 0.5 * len(w) * LOG_2PI
        log_p = log_normal + passage.log_abs_det
        energy = data - problem.weight * (log_p if problem.space == "z" else log_normal)
        return _Place(problem, z, w, energy, data, log_p, passage, difference)

    def _slope(self) -> tuple[Array, Array, Array]:
        """Here: the energy's gradient [Z], and the residuals' derivative in factors [M, R] and [R, Z]."""
        problem, place = self.problem, self._place
        by_feature, features = place.difference.factors()
        gradient = (place.difference.residual @ by_feature) @ features
        if problem.weight > 0:
            by_z = place.passage.pull_back(place.w / self._sigma, -1.0 if problem.space == "z" else 0.0)
            gradient = gradient + problem.weight * by_z
        return gradient, by_feature, features

    def _model(self) -> _Model:
        gradient, by_feature, features = self._slope()
        if self._z_by_u is None:
            self._z_by_u, self._z_by_u_is_new = self._place.passage.inverse_jacobian(), True
        by_w = self._z_by_u.pull_back(np.vstack([gradient, features])) * self._sigma
        data, whitened = torch.from_numpy(by_feature), torch.from_numpy(by_w).double()
        return _Model(-whitened[0], whitened[1:], (data.T @ data).double(), self.problem.weight)
