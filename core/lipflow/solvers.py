"""The optimisers behind ``fit``: Levenberg–Marquardt for keypoints, Adam for images.

Both hold one point (a code with its energies and gradient), move it with ``step`` and can be handed another problem
while they run. Neither leaves a gradient mode switched between calls, so they are safe inside a generator.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.observations import LeastSquares, Observation
from lipflow.priors.base import LatentPrior

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
    ) -> None:
        self.avatar, self.observation, self.prior, self.context = avatar, observation, prior, context
        self.weight, self.space = weight, space
        with torch.no_grad():
            mu, log_sigma = prior.base(context)
            self.mu, self.log_sigma = mu.reshape(-1), log_sigma.reshape(-1)  # [Z] each

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
    gradient: Tensor  # [Z], of the energy, by the solver's unknown
    shown: dict[str, Tensor]  # what the observation shows at this code, without a batch dimension; may be empty


class Solver(Protocol):
    """An optimiser that is driven from outside, one iteration at a time."""

    problem: Problem
    point: Point
    converged: bool

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


class LevenbergMarquardt:
    """Damped Gauss–Newton on z, for observations that can be linearised (Nielsen's rule for the damping).

    The data's curvature is JᵀJ. The prior's is λ (∂w/∂z)ᵀ (∂w/∂z): exact for a Gaussian; for a flow it is what a
    locally linear F would have. ∂u/∂z, the dear part, is kept until a step is hard to find, also for the next problem.
    The gradient is always exact and a step is taken only if the true energy falls: that economy costs no accuracy.
    """

    ATTEMPTS = 8  # dampings tried within one iteration
    HARD = 3  # attempts that make an iteration a hard one, after which ∂u/∂z is computed afresh
    LEAST, MOST = 1e-7, 1e7  # damping, relative to the diagonal

    def __init__(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self._damping, self._growth = 1e-3, 2.0
        self._bijection: Tensor | None = None  # ∂u/∂z, [Z, Z]
        self._start_at(problem, z, config)

    def replace(self, problem: Problem, config: SolverConfig) -> None:
        """Go on with another problem: the code, the damping and ∂u/∂z stay."""
        if problem.prior is not self.problem.prior:
            self._bijection = None
        self._start_at(problem, self.point.z, config)

    def settle(self) -> None:
        """Nothing to do: a step is only taken where the energy falls."""

    def _start_at(self, problem: Problem, z: Tensor, config: SolverConfig) -> None:
        self.problem, self._tolerance = problem, config.tolerance
        self._curvature: Tensor | None = None  # λ (∂w/∂z)ᵀ (∂w/∂z), [Z, Z] float64
        self.converged = False
        self.point, self._jacobian = self._linearise(z)

    def step(self) -> None:
        with torch.no_grad():
            data_curvature = self._jacobian.double().T @ self._jacobian.double()
            curvature = data_curvature + self._prior_curvature() if self.problem.weight > 0 else data_curvature
        for attempt in range(1, self.ATTEMPTS + 1):
            step = _solve_damped(curvature, -self.point.gradient, self._damping)
            if step is not None and self._attempt(step, curvature):
                if attempt >= self.HARD:
                    self._bijection = self._curvature = None
                return
            self._damping, self._growth = min(self._damping * self._growth, self.MOST), self._growth * 2
        self.converged = True  # the gradient is exact, so only rounding is left

    def _attempt(self, step: Tensor, curvature: Tensor) -> bool:
        """Try a step; whether this iteration is over."""
        wide = step.double()
        promised = float(-(self.point.gradient.double() @ wide) - 0.5 * wide @ curvature @ wide)
        trial, jacobian = self._linearise(self.point.z + step)
        lowered = self.point.energy - trial.energy
        negligible = promised <= self._tolerance * max(abs(self.point.energy), 1.0)
        taken = lowered >= 0  # False for NaN
        if taken:
            share = lowered / max(promised, 1e-12)
            self.point, self._jacobian = trial, jacobian
            self._damping = max(self._damping * max(1 / 3, 1 - (2 * share - 1) ** 3), self.LEAST)
            self._growth = 2.0
        self.converged = negligible
        return taken or negligible

    def _prior_curvature(self) -> Tensor:
        if self._bijection is None:
            self._bijection = self.problem.prior.jacobian(self.point.z, self.problem.context)
        if self._curvature is None:
            whitening = (torch.exp(-self.problem.log_sigma)[:, None] * self._bijection).double()
            self._curvature = self.problem.weight * whitening.T @ whitening
        return self._curvature

    def _linearise(self, z: Tensor) -> tuple[Point, Tensor]:
        problem, z = self.problem, z.detach()
        with torch.no_grad():
            residual, jacobian = cast(LeastSquares, problem.observation).linearise(problem.avatar, z)
            data, gradient = 0.5 * float(residual.square().sum()), jacobian.T @ residual
        counts = problem.weight > 0
        with torch.set_grad_enabled(counts):
            code = z[None].clone().requires_grad_(counts)
            w, log_abs_det = problem.whiten(code)
            cost, log_p = problem.densities(w, log_abs_det)
            if counts:
                gradient = gradient + problem.weight * torch.autograd.grad(cost.sum(), code)[0][0]
        energy = data + problem.weight * float(cost.detach())
        return Point(z, w.detach()[0], energy, data, float(log_p.detach()), gradient, {}), jacobian


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
        self.point = self._evaluate(self._unknown)
        self._best = self._unknown, self.point

    def settle(self) -> None:
        """Take the best point: where edges hide or show pixels the gradient misleads small steps."""
        self._unknown, self.point = self._best

    def step(self) -> None:
        gradient = self.point.gradient
        self._steps += 1
        self._mean = self.BETA1 * self._mean + (1 - self.BETA1) * gradient
        self._square = self.BETA2 * self._square + (1 - self.BETA2) * gradient.square()
        mean = self._mean / (1 - self.BETA1**self._steps)
        square = self._square / (1 - self.BETA2**self._steps)
        phase = min(self._done / self._config.iterations, 1.0)
        rate = self.LAST_RATE + (1 - self.LAST_RATE) * 0.5 * (1 + math.cos(math.pi * phase))
        step = self._brake * rate * self._config.learning_rate * mean / (square.sqrt() + self.EPSILON)
        trial = self._evaluate(self._unknown - step)
        self._done += 1
        if not (math.isfinite(trial.energy) and bool(torch.isfinite(trial.gradient).all())):
            self._brake *= 0.5  # stay, and go more carefully
            return
        self._unknown, self.point = self._unknown - step, trial
        if trial.energy < self._best[1].energy:
            self._best = self._unknown, trial
        self._energies.append(trial.energy)
        if len(self._energies) == 2 * self.WINDOW:
            self._judge()

    def _judge(self) -> None:
        """Where the energy no longer falls, smaller steps may still lower it; where those do not, it has converged."""
        energies = list(self._energies)
        before, now = sum(energies[: self.WINDOW]) / self.WINDOW, sum(energies[self.WINDOW :]) / self.WINDOW
        if before - now < self._config.tolerance * max(abs(now), 1.0):
            self.converged = self._brake <= self.SLOWEST
            self._brake *= 0.5
            self._energies.clear()

    def _evaluate(self, unknown: Tensor) -> Point:
        problem = self.problem
        x = unknown.detach().clone()[None].requires_grad_(True)
        with torch.enable_grad():
            z = x if problem.space == "z" else problem.unwhiten(x)
            comparison = problem.observation.compare(problem.avatar, z)
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
        return Point(z.detach()[0], w.detach()[0], energy, data, float(log_p.detach()), gradient[0], shown)


SOLVERS: dict[str, type[LevenbergMarquardt] | type[Adam]] = {"lm": LevenbergMarquardt, "adam": Adam}


def _solve_damped(curvature: Tensor, descent: Tensor, damping: float) -> Tensor | None:
    """Solve (C + damping · diag C) x = d by Cholesky, [Z, Z] and [Z] -> [Z]; None if it breaks down.

    In float64, on the matrix scaled to a unit diagonal: a prior's σ spans e^±5, so its curvature spans e^±10.
    """
    scale = curvature.diagonal().clamp_min(1e-12).rsqrt()
    scaled = curvature * scale[:, None] * scale
    scaled.diagonal().add_(damping)
    factor, failed = torch.linalg.cholesky_ex(scaled)
    if int(failed):
        return None
    step = torch.cholesky_solve((descent.double() * scale)[:, None], factor)[:, 0] * scale
    return step.to(descent.dtype)
