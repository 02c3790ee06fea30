"""Laplace's Gaussian around a fitted code, and the mass of the posterior under it, in the prior's whitened space.

There, w = (F(z; h) − μ) / σ, every prior of this library is N(0, I) exactly, and the posterior of a code is
``exp(−½ |w|² − energy(z(w)) / λ)``: the same whose peak a fit with λ seeks in the space u.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from lipflow.checks import InputError
from lipflow.identifiability import whitening
from lipflow.observations import LeastSquares, Residuals, linearise
from lipflow.solvers import Problem

NEWTON_STEPS = 8  # at most, from a fit to the peak in w
BUCKETS = 8192  # that an image's residuals are summed into
WATCHED = 8  # axes that a reference names


@dataclass(frozen=True, eq=False)
class Reference:
    """N(m, C) on whitened codes, float64."""

    mean: Tensor  # [Z]
    root: Tensor  # [Z, Z] lower triangular: C⁻¹ = root · rootᵀ
    axes: Tensor  # [Z, k] some unit vectors, those along which C is smallest first

    @staticmethod
    def of_prior(like: Tensor) -> Reference:
        """N(0, I), on codes like [Z]."""
        eye = torch.eye(len(like), dtype=torch.float64, device=like.device)
        return Reference(torch.zeros_like(like), eye, eye[:, :WATCHED])

    @staticmethod
    def of_curvature(mean: Tensor, curvature: Tensor) -> Reference:
        """From the energy's second derivative at its minimum: [Z] and [Z, Z], without the prior's I."""
        precision = curvature + torch.eye(len(mean), dtype=torch.float64, device=mean.device)
        return Reference(mean, torch.linalg.cholesky(precision), torch.linalg.eigh(precision)[1].flip(1)[:, :WATCHED])

    def spread(self, noise: Tensor) -> Tensor:
        """C^½ ξ for standard normal ξ [n, Z]."""
        return torch.linalg.solve_triangular(self.root.T, noise.T, upper=True).T

    def half_square(self, w: Tensor) -> Tensor:
        """½ (w − m)ᵀ C⁻¹ (w − m) of [n, Z] -> [n]."""
        return 0.5 * ((w - self.mean) @ self.root).square().sum(-1)

    @property
    def log_volume(self) -> float:
        """½ log det C: a peak's volume, but for a constant."""
        return -float(self.root.diagonal().log().sum())


@dataclass(frozen=True)
class LaplaceState:
    """How far a Laplace approximation is."""

    done: int  # axes
    total: int


def laplace(
    problem: Problem, z: Tensor, *, difference: float = 0.5, seed: int = 0
) -> Generator[LaplaceState, None, Reference]:
    """Laplace's Gaussian N(m, (I + JᵀJ / λ)⁻¹) near a fitted code z [Z].

    Keypoints have J in closed form, and Gauss–Newton steps go on from the fit to the peak of this density, which is
    another one if the fit was in the space z. J of images are secants of ``difference`` standard deviations to both
    sides, taken where the fit is: a sampler's proposals are to know what a step of that size costs, and pixels that
    edges cross make most of that cost, which no derivative at a point tells (with the exact one of smoothed images
    instead, ``identifiability.whitened_jacobian``, chains took half the step, measured).

    Raises:
        InputError: an observation without residuals.
    """
    with torch.no_grad():
        centre = problem.whiten(z[None])[0][0].double()
    if not isinstance(problem.observation, LeastSquares):
        gram = yield from _secants(problem, centre, difference, seed)
        return Reference.of_curvature(centre, gram / problem.weight)
    for step in range(NEWTON_STEPS):
        reference, towards = _gauss_newton(problem, centre)
        lower = _lower(problem, centre, towards)
        yield LaplaceState(step + 1, NEWTON_STEPS)
        if lower is None:
            return reference
        centre = lower
    return _gauss_newton(problem, centre)[0]


def log_mass(problem: Problem, reference: Reference) -> float:
    """Logarithm of the posterior's mass under a peak that Laplace's Gaussian describes, in nats, but for a constant
    that all peaks of a problem share: (2π)^(Z/2) and the posterior's normaliser."""
    return reference.log_volume - float(negative_log_posterior(problem, reference.mean[None]))


@torch.no_grad()
def energies(problem: Problem, w: Tensor, batch: int = 16) -> tuple[Tensor, Tensor]:
    """Codes [n, Z] of whitened ones [n, Z] float64, and the observation's energy of each, [n] float64."""
    z = problem.unwhiten(w.to(problem.mu.dtype))
    found = [problem.observation.energy(problem.avatar, some).double() for some in z.split(batch)]
    return z, torch.cat(found).nan_to_num(nan=math.inf)


def negative_log_posterior(problem: Problem, w: Tensor) -> Tensor:
    """½ |w|² + energy / λ of whitened codes [n, Z] -> [n]."""
    return energies(problem, w)[1] / problem.weight + 0.5 * w.square().sum(-1)


@torch.no_grad()
def _gauss_newton(problem: Problem, w: Tensor) -> tuple[Reference, Tensor]:
    """Laplace's Gaussian at w [Z], and the step from there to the peak that it foresees, [Z]."""
    z = problem.unwhiten(w[None].to(problem.mu.dtype))[0]
    assert isinstance(problem.observation, LeastSquares)
    residual, by_z = linearise(problem.observation, problem.avatar, z)
    jacobian = torch.linalg.solve(whitening(problem, z).T, by_z.double().T).T
    reference = Reference.of_curvature(w, jacobian.T @ jacobian / problem.weight)
    gradient = w + jacobian.T @ residual.double() / problem.weight
    return reference, torch.cholesky_solve(-gradient[:, None], reference.root)[:, 0]


def _lower(problem: Problem, w: Tensor, step: Tensor) -> Tensor | None:
    """Where along a step [Z] from w [Z] the density is higher by more than rounding; None if nowhere."""
    lengths = 0.5 ** torch.arange(6, dtype=w.dtype, device=w.device)
    trials = torch.cat([w[None], w + lengths[:, None] * step])
    values = negative_log_posterior(problem, trials)
    best = int(values.argmin())
    gained = float(values[0] - values[best])
    return trials[best] if gained > 1e-5 * max(abs(float(values[0])), 1.0) else None


def _secants(problem: Problem, centre: Tensor, difference: float, seed: int) -> Generator[LaplaceState, None, Tensor]:
    """JᵀJ [Z, Z] float64 of an observation's residuals around w [Z].

    The residuals are summed into buckets with random signs, which keeps scalar products in expectation (Charikar,
    Chen and Farach-Colton 2002): memory is one bucketful an axis, whatever the images' size.
    """
    observation = problem.observation
    if not isinstance(observation, Residuals):
        raise InputError("observation", expected="one with residuals", got=type(observation).__name__)
    size, dtype = len(centre), problem.mu.dtype
    axes = difference * torch.eye(size, dtype=centre.dtype, device=centre.device)
    columns: list[Tensor] = []
    place = sign = None
    for k, axis in enumerate(axes):
        with torch.no_grad():
            ends = problem.unwhiten(torch.stack([centre + axis, centre - axis]).to(dtype))
            ahead, behind = observation.residuals(problem.avatar, ends)
            if place is None or sign is None:
                generator = torch.Generator().manual_seed(seed)
                place = torch.randint(BUCKETS, ahead.shape, generator=generator).to(ahead.device)
                sign = torch.randint(0, 2, ahead.shape, generator=generator).to(ahead) * 2 - 1
            slope = sign * (ahead - behind) / (2 * difference)
            columns.append(slope.new_zeros(BUCKETS).index_add_(0, place, slope).double())
        yield LaplaceState(k + 1, size)
    jacobian = torch.stack(columns)  # [Z, buckets]
    return jacobian @ jacobian.T
