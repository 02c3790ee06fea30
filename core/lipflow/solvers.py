"""The optimisers behind ``fit``: Levenberg–Marquardt for keypoints, Adam for images.

Both hold one point (a code with its energies and gradient), move it with ``step`` and can be handed another problem
while they run. Neither leaves a gradient mode switched between calls, so they are safe inside a generator.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.observations import Against, Comparison, Difference, LeastSquares, Observation
from lipflow.priors.base import Array, Carry, InverseJacobian, LatentPrior, Passage

LOG_2PI = math.log(2 * math.pi)


class Problem:
    """``energy(z) = data(z) + λ · prior(z)`` for one observation; the prior's term is −log p in z or in u."""

    def __init__(
        self,
        avatar: Avatar,
        observation: Observation,
        prior: LatentPrior,
        context: Tensor | None,  # [1, C]
        weight: float,
        space: Literal["z", "u"],
        *,
        smooth: bool = False,  # whether pictures are compared with smoothed edges
    ) -> None:
        self.avatar, self.observation, self.prior, self.context = avatar, observation, prior, context
        self.weight, self.space, self.smooth = weight, space, smooth
        with torch.no_grad():
            mu, log_sigma = prior.base(context)
            self.mu, self.log_sigma = mu.reshape(-1), log_sigma.reshape(-1)  # [Z] each

    def compare(self, z: Tensor) -> Comparison:
        """Codes [B, Z] beside the observation, as a fit does it."""
        compare = self.observation.compare_smoothly if self.smooth else self.observation.compare
        return compare(self.avatar, z)

    def whiten(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [B, Z] -> (F(z) − μ) / σ [B, Z] and log|det| of F there, [B]."""
        u, log_abs_det = self.prior.to_prior(z, self.context)
        return (u - self.mu) * torch.exp(-self.log_sigma), log_abs_det

    def unwhiten(self, w: Tensor) -> Tensor:
        """The inverse of ``whiten``: [B, Z] -> codes [B, Z]."""
        return self.prior.to_decoder(self.mu + torch.exp(self.log_sigma) * w, self.context)

    def densities(self, w: Tensor, log_abs_det: Tensor) -> tuple[Tensor, Tensor]:
        """(−log p in the chosen space, log p of the decoder's code), [B] each, of whitened codes [B, Z]."""
        log_normal = -0.5 * w.square().sum(-1) - self.log_sigma.sum() - 0.5 * w.shape[-1] * LOG_2PI
        log_p = log_normal + log_abs_det
        return -(log_p if self.space == "z" else log_normal), log_p


@dataclass(frozen=True, eq=False)
class Point:
    """A code and what it costs."""

    z: Tensor  # [Z]
    w: Tensor  # [Z] whitened
    energy: float
    data_energy: float
    log_likelihood: float
    shown: dict[str, Tensor]  # what the observation shows at this code, without a batch dimension


class Solver(Protocol):
    """An optimiser that is driven from outside, one iteration at a time."""

    problem: Problem
    converged: bool

    @property
    def point(self) -> Point:
        """Where it is."""
        ...

    def gradient(self) -> Tensor:
        """[Z], of the energy at the point, by the solver's unknown."""
        ...

    def step(self) -> None:
        """One iteration."""
        ...

    def replace(self, problem: Problem, config: SolverConfig) -> None:
        """Go on from the present code with another problem and the optimiser's memory."""
        ...

    def settle(self) -> None:
        """The last iteration is over: take the best point that was seen."""
        ...


class SolverConfig(Protocol):
    """What the solvers read of a fit's configuration."""

    @property
    def iterations(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def tolerance(self) -> float: ...


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


class Adam:
    """Adam (Kingma and Ba 2015) on the code, or on its whitened form when the space is u; the step size falls."""

    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
    LAST_RATE = 0.05  # of the learning rate, at the end of the cosine
    WINDOW = 10  # iterations; the mean energy of so many is compared with that of so many before
    SLOWEST = 1 / 8  # of the learning rate; no lower energy at that means convergence

    def __init__(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self._mean, self._square, self._steps = torch.zeros_like(z), torch.zeros_like(z), 0
        self._start_at(problem, z, config)

    def replace(self, problem: Problem, config: SolverConfig) -> None:
        """Go on with another problem in the same space: the code and both moments stay."""
        self._start_at(problem, self.point.z, config)

    def _start_at(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self.problem, self._config = problem, config
        self.converged, self._done, self._brake = False, 0, 1.0
        self._energies: deque[float] = deque(maxlen=2 * self.WINDOW)
        with torch.no_grad():
            self._unknown = z.detach() if problem.space == "z" else problem.whiten(z[None])[0][0]
        self.point, self._gradient = self._evaluate(self._unknown)
        self._best = self._unknown, self.point

    def gradient(self) -> Tensor:
        return self._gradient

    def settle(self) -> None:
        """Take the best point: where edges hide or show pixels a gradient that does not know of them misleads."""
        self._unknown, self.point = self._best

    def step(self) -> None:
        gradient = self._gradient
        self._steps += 1
        self._mean = self.BETA1 * self._mean + (1 - self.BETA1) * gradient
        self._square = self.BETA2 * self._square + (1 - self.BETA2) * gradient.square()
        mean = self._mean / (1 - self.BETA1**self._steps)
        square = self._square / (1 - self.BETA2**self._steps)
        phase = min(self._done / self._config.iterations, 1.0)
        rate = self.LAST_RATE + (1 - self.LAST_RATE) * 0.5 * (1 + math.cos(math.pi * phase))
        step = self._brake * rate * self._config.learning_rate * mean / (square.sqrt() + self.EPSILON)
        trial, gradient = self._evaluate(self._unknown - step)
        self._done += 1
        if not (math.isfinite(trial.energy) and bool(torch.isfinite(gradient).all())):
            self._brake *= 0.5  # stay, and go more carefully
            return
        self._unknown, self.point, self._gradient = self._unknown - step, trial, gradient
        if trial.energy < self._best[1].energy:
            self._best = self._unknown, trial
        self._energies.append(trial.energy)
        if len(self._energies) == 2 * self.WINDOW:
            self._judge()

    def _judge(self) -> None:
        """Where the energy no longer falls, smaller steps from the best point may still lower it; where those do not,
        it has converged. Along a gradient that knows nothing of edges it may rise for long, and here jumps back."""
        energies = list(self._energies)
        before, now = sum(energies[: self.WINDOW]) / self.WINDOW, sum(energies[self.WINDOW :]) / self.WINDOW
        if before - now < self._config.tolerance * max(abs(now), 1.0):
            self.converged = self._brake <= self.SLOWEST
            self._brake *= 0.5
            self._energies.clear()
            self._unknown = self._best[0]
            self.point, self._gradient = self._evaluate(self._unknown)
            self._mean = torch.zeros_like(self._mean)

    def _evaluate(self, unknown: Tensor) -> tuple[Point, Tensor]:
        problem = self.problem
        x = unknown.detach().clone()[None].requires_grad_(True)
        with torch.enable_grad():
            z = x if problem.space == "z" else problem.unwhiten(x)
            comparison = problem.compare(z)
            # The density in u needs no log|det|, which is then for the report alone.
            with torch.set_grad_enabled(problem.weight > 0 and problem.space == "z"):
                w, log_abs_det = problem.whiten(z)
            cost, log_p = problem.densities(w if problem.space == "z" else x, log_abs_det)
            total = comparison.energy.sum()
            total = total + problem.weight * cost.sum() if problem.weight > 0 else total
            (gradient,) = torch.autograd.grad(total, x)
        data = float(comparison.energy.detach())
        energy = data + problem.weight * float(cost.detach())
        shown = {name: tensor[0] for name, tensor in comparison.shown.items()}
        return Point(z.detach()[0], w.detach()[0], energy, data, float(log_p.detach()), shown), gradient[0]


SOLVERS: dict[str, type[LevenbergMarquardt] | type[Adam]] = {"lm": LevenbergMarquardt, "adam": Adam}
