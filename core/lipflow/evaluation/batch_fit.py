"""Many fits to images at once: the same L-BFGS or Adam as ``fit``, one row a frame.

A batch of frames shares the decoder's and the renderer's work, which is faster than one frame after the other; what
each row does does not depend on the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.fitting import FitConfig
from lipflow.image_energy import headset_energy, image_energy, visible_region
from lipflow.observations import render_views, renderer_for
from lipflow.priors.base import LatentPrior, PriorConfig, gaussian_log_prob
from lipflow.priors.standard_normal import StandardNormal
from lipflow.solvers import Adam
from lipflow.solvers.lbfgs import Array, Descent, Index


class Images(Protocol):
    """Images of B frames, each to be explained by a code of its own."""

    def energy(self, avatar: Avatar, z: Tensor, rows: Tensor, *, smooth: bool = False) -> Tensor:
        """½ Σ (residual / σ)² of the codes [N, Z] for the frames ``rows`` [N] -> [N], differentiable in z; with the
        edges of what is rendered smoothed if asked for."""
        ...


@dataclass(frozen=True, eq=False)
class HeadsetImages(Images):
    """Headset images of B frames from the same three cameras; see ``HmcObservation``."""

    images: Tensor  # [B, 3, h, w]
    masks: Tensor  # [B, 3, h, w]
    cameras: Camera  # 3, head frame
    noise: float = 0.05  # σ of a pixel's value
    patch: int = 8  # side, in pixels, of the patch within which errors go together

    def energy(self, avatar: Avatar, z: Tensor, rows: Tensor, *, smooth: bool = False) -> Tensor:
        gray, covered = render_views(avatar, z, self.cameras, gray=True, silhouette=smooth)
        visible = visible_region(covered, self.masks[rows])
        per_view, *_ = headset_energy(gray[:, :, 0], self.images[rows], visible, self.noise, self.patch)
        return per_view.sum(-1)


@dataclass(frozen=True, eq=False)
class Photographs(Images):
    """One photograph of each of B frames, every one from its own camera; see ``FrontalObservation``."""

    images: Tensor  # [B, 3, H, W] linear RGB
    masks: Tensor  # [B, H, W]
    cameras: Camera  # B, head frame
    noise: float = 0.05  # σ of a pixel's linear value
    patch: int = 8  # side, in pixels, of the patch within which errors go together

    def energy(self, avatar: Avatar, z: Tensor, rows: Tensor, *, smooth: bool = False) -> Tensor:
        cameras = self.cameras[rows]
        decoded = avatar.decode(z, cameras.view)
        output = renderer_for(avatar.topology, z.device, smooth).render(decoded.vertices, decoded.texture, cameras)
        visible = visible_region(output.mask.detach(), self.masks[rows])
        return image_energy(output.rgb, self.images[rows], visible, self.noise, self.patch)


@dataclass(frozen=True, eq=False)
class FittedCodes:
    """The best code that each fit saw."""

    z: Tensor  # [B, Z]
    energy: Tensor  # [B] float64: what was minimised
    iterations: Tensor  # [B] until convergence or the limit


def fit_batch(avatar: Avatar, images: Images, driving: Tensor | None, count: int, config: FitConfig) -> FittedCodes:
    """Fit a code to each of ``count`` frames under the prior that its driving signal [B, ...] conditions.

    Raises:
        InputError: for an optimiser that is not for images, a start that is drawn, or one whose energy is not finite.
    """
    for choice, known in ((config.optimiser, tuple(_SOLVERS)), (config.start, _STARTS)):
        if choice not in known:
            raise InputError("fits to images", expected=" or ".join(known), got=choice)
    posterior = _Posterior(avatar, images, driving, count, config)
    solver = _SOLVERS[config.optimiser](posterior, posterior.start(config.start, driving), config)
    if not torch.isfinite(solver.best_energy).all():
        raise InputError("fit", expected="a finite energy at the start", got=solver.best_energy.tolist())
    for iteration in range(config.iterations):
        rows = (~solver.converged).nonzero()[:, 0]
        if len(rows) == 0:
            break
        solver.step(rows, iteration)
    with torch.no_grad():
        z = posterior.decoded(solver.best, torch.arange(count, device=solver.best.device))
    return FittedCodes(z, solver.best_energy, solver.iterations)


class _Posterior:
    """energy(unknown) = data + λ · (−log p), row by row; see ``Problem``."""

    def __init__(self, avatar: Avatar, images: Images, driving: Tensor | None, count: int, config: FitConfig) -> None:
        self.avatar, self.images, self.count = avatar, images, count
        self.space: Literal["z", "u"] = config.space
        self.whitened = config.space == "u" or config.optimiser == "lbfgs"  # whether the unknown is
        self.weight = config.prior_weight if config.likelihood else 0.0
        self.smooth = config.edges == "smooth"
        self.prior: LatentPrior = avatar.prior
        self.context: Tensor | None = None  # [B, C]
        if config.prior == "standard-normal":
            self.prior = StandardNormal(PriorConfig(latent=avatar.config.latent)).to(avatar.vertex_mean.device)
        else:
            with torch.no_grad():
                self.context = avatar.context(driving)
        with torch.no_grad():
            mu, log_sigma = self.prior.base(self.context)
        self.mu, self.log_sigma = (part.expand(count, -1) for part in (mu, log_sigma))  # [B, Z]

    def start(self, start: str, driving: Tensor | None) -> Tensor:
        """Where the unknown starts, [B, Z]."""
        with torch.no_grad():
            prior, context = self.prior, self.context
            if start == "encoder":
                prior, context = self.avatar.prior, self.avatar.context(driving)
            z = torch.zeros_like(self.mu) if start == "zero" else prior.start(context).expand(self.count, -1)
            if not self.whitened:
                return z.clone()
            u, _ = self.prior.to_prior(z, self.context)
            return (u - self.mu) * torch.exp(-self.log_sigma)

    def decoded(self, unknown: Tensor, rows: Tensor) -> Tensor:
        """The unknowns [N, Z] of some rows as the decoder's codes."""
        return self._carried(unknown, rows)[0] if self.whitened else unknown

    def evaluate(self, unknown: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Energies [N] float64 and their gradients [N, Z] at the unknowns of some rows."""
        with torch.enable_grad():
            x = unknown.detach().requires_grad_(True)
            z, u, log_abs_det = self._carried(x, rows)
            data = self.images.energy(self.avatar, z, rows, smooth=self.smooth)
            total, energy = data, data.detach().double()
            if self.weight > 0:
                log_normal = gaussian_log_prob(u, self.mu[rows], self.log_sigma[rows])
                cost = -(log_normal if self.space == "u" else log_normal + log_abs_det)
                total, energy = data + self.weight * cost, energy + self.weight * cost.detach().double()
            (gradient,) = torch.autograd.grad(total.sum(), x)
        return energy, gradient

    def _carried(self, unknown: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The unknowns [N, Z] of some rows in Q and in P, [N, Z] each, and log|det ∂u/∂z| there, [N]."""
        context = self._context(rows)
        if self.whitened:
            u = self.mu[rows] + torch.exp(self.log_sigma[rows]) * unknown
            z, log_abs_det = self.prior.inverse(u, context)
            return z, u, log_abs_det
        u, log_abs_det = self.prior.to_prior(unknown, context)
        return unknown, u, log_abs_det

    def _context(self, rows: Tensor) -> Tensor | None:
        return None if self.context is None else self.context[rows]


class _BatchAdam:
    """The solver ``Adam``, with every number of its state a tensor over the rows."""

    def __init__(self, posterior: _Posterior, unknown: Tensor, config: FitConfig) -> None:
        self._posterior, self._config, self._unknown = posterior, config, unknown
        count, like = len(unknown), unknown.new_zeros(len(unknown))
        everything = torch.arange(count, device=unknown.device)
        self.energy, self._gradient = posterior.evaluate(unknown, everything)
        self.best, self.best_energy = unknown.clone(), self.energy.clone()
        self.converged = torch.zeros_like(like, dtype=torch.bool)
        self.iterations = torch.zeros_like(like, dtype=torch.long)
        self._mean, self._square = torch.zeros_like(unknown), torch.zeros_like(unknown)
        self._brake = torch.ones_like(like)
        self._recent = self.energy.new_zeros(count, 2 * Adam.WINDOW)  # energies since the window was cleared
        self._filled = torch.zeros_like(self.iterations)

    def step(self, rows: Tensor, iteration: int) -> None:
        """One iteration of the rows that have not converged; they all are at the same iteration."""
        gradient, config = self._gradient[rows], self._config
        self._mean[rows] = Adam.BETA1 * self._mean[rows] + (1 - Adam.BETA1) * gradient
        self._square[rows] = Adam.BETA2 * self._square[rows] + (1 - Adam.BETA2) * gradient.square()
        mean = self._mean[rows] / (1 - Adam.BETA1 ** (iteration + 1))
        square = self._square[rows] / (1 - Adam.BETA2 ** (iteration + 1))
        rate = Adam.LAST_RATE + (1 - Adam.LAST_RATE) * 0.5 * (1 + math.cos(math.pi * iteration / config.iterations))
        length = self._brake[rows, None] * rate * config.learning_rate
        trial = self._unknown[rows] - length * mean / (square.sqrt() + Adam.EPSILON)
        energy, gradient = self._posterior.evaluate(trial, rows)
        self.iterations[rows] += 1
        sound = torch.isfinite(energy) & torch.isfinite(gradient).all(-1)
        self._brake[rows[~sound]] *= 0.5  # stay, and go more carefully
        self._take(rows[sound], trial[sound], energy[sound], gradient[sound])

    def _take(self, rows: Tensor, unknown: Tensor, energy: Tensor, gradient: Tensor) -> None:
        self._unknown[rows], self.energy[rows], self._gradient[rows] = unknown, energy, gradient
        better = energy < self.best_energy[rows]
        self.best[rows[better]], self.best_energy[rows[better]] = unknown[better], energy[better]
        self._recent[rows, self._filled[rows]] = energy
        self._filled[rows] += 1
        self._judge(rows[self._filled[rows] == 2 * Adam.WINDOW])

    def _judge(self, rows: Tensor) -> None:
        """See ``Adam``: a full window slides while the energy falls; else the row goes on from its best."""
        before, now = self._recent[rows].unflatten(1, (2, -1)).mean(-1).unbind(1)
        stuck = before - now < self._config.tolerance * now.abs().clamp_min(1.0)
        braked = rows[stuck]
        self.converged[braked] = self._brake[braked] <= Adam.SLOWEST
        self._brake[braked] *= 0.5
        self._filled[braked] = 0
        if len(braked):
            self._unknown[braked], self._mean[braked] = self.best[braked], 0.0
            self.energy[braked], self._gradient[braked] = self._posterior.evaluate(self.best[braked], braked)
        falling = rows[~stuck]
        self._recent[falling] = self._recent[falling].roll(-1, dims=1)
        self._filled[falling] -= 1


class _BatchLbfgs:
    """The solver ``Lbfgs``: its ``Descent`` on all rows, which lives on the host."""

    def __init__(self, posterior: _Posterior, unknown: Tensor, config: FitConfig) -> None:
        self._like = unknown
        self._descent = Descent(partial(_on_the_host, posterior, unknown), unknown.cpu().numpy(), config.tolerance)
        self.iterations = torch.zeros(len(unknown), dtype=torch.long, device=unknown.device)

    @property
    def best(self) -> Tensor:
        """[B, Z] where the energy was lowest."""
        return torch.from_numpy(self._descent.best).to(self._like)

    @property
    def best_energy(self) -> Tensor:
        return torch.from_numpy(self._descent.best_energy).to(self._like.device)

    @property
    def converged(self) -> Tensor:
        return torch.from_numpy(self._descent.converged).to(self._like.device)

    def step(self, rows: Tensor, iteration: int) -> None:
        """One evaluation of the rows that have not converged."""
        self._descent.step(rows.cpu().numpy())
        self.iterations[rows] += 1


def _on_the_host(posterior: _Posterior, like: Tensor, unknown: Array, rows: Index) -> tuple[Array, Array]:
    """``_Posterior.evaluate`` for ``Descent``. No method of the solver: the two would keep each other, and all images,
    until Python looks for such pairs."""
    energy, gradient = posterior.evaluate(torch.from_numpy(unknown).to(like), torch.from_numpy(rows).to(like.device))
    return energy.cpu().numpy(), gradient.cpu().numpy()


_STARTS = ("prior", "encoder", "zero")
_SOLVERS: dict[str, type[_BatchAdam] | type[_BatchLbfgs]] = {"lbfgs": _BatchLbfgs, "adam": _BatchAdam}
