"""What a fit minimises, and a code with what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.observations import Comparison, Observation
from lipflow.priors.base import Carry, LatentPrior

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class Point:
    """A code and what it costs."""

    z: Tensor  # [Z]
    w: Tensor  # [Z] whitened
    energy: float
    data_energy: float
    log_likelihood: float
    shown: dict[str, Tensor]  # what the observation shows at this code, without a batch dimension


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

    def evaluate(self, z: Tensor) -> tuple[Point, Tensor]:
        """A code [Z], with what it costs; and the energy's gradient by it, [Z]."""
        z = z.detach()[None].requires_grad_(True)
        with torch.enable_grad():
            w, log_abs_det = self.whiten(z)
            comparison = self.compare(z)
            log_normal = self._log_normal(w[0])
            log_p = log_normal + log_abs_det[0]
            cost = -(log_p if self.space == "z" else log_normal)
            total = comparison.energy[0]
            total = total + self.weight * cost if self.weight > 0 else total
            (gradient,) = torch.autograd.grad(total, z)
        return self._point(z, w.detach()[0], comparison, float(cost.detach()), float(log_p.detach())), gradient[0]

    def evaluate_whitened(self, w: Tensor) -> tuple[Point, Tensor]:
        """The same of a whitened code [Z], and by it. It goes back through the prior on the host (see ``Return``)."""
        u = self.mu + torch.exp(self.log_sigma) * w
        with np.errstate(over="ignore", invalid="ignore"):  # a step may go too far: its energy is then no number
            back = self._carry.back(u.cpu().numpy())
        z = torch.from_numpy(back.z).to(w)[None].requires_grad_(True)
        with torch.enable_grad():
            comparison = self.compare(z)
            (by_z,) = torch.autograd.grad(comparison.energy[0], z)
        log_normal = float(self._log_normal(w))
        log_p = log_normal + back.log_abs_det
        cost = -(log_p if self.space == "z" else log_normal)
        with np.errstate(over="ignore", invalid="ignore"):
            by_u = back.pull_back(by_z[0].cpu().numpy(), -self.weight if self.space == "z" else 0.0)
        gradient = torch.from_numpy(by_u).to(w) * torch.exp(self.log_sigma) + self.weight * w
        return self._point(z, w, comparison, cost, log_p), gradient

    @cached_property
    def _carry(self) -> Carry:
        return self.prior.under(self.context)

    def _log_normal(self, w: Tensor) -> Tensor:
        """log N(u; μ, σ) of a whitened code [Z]."""
        return -0.5 * w.square().sum() - self.log_sigma.sum() - 0.5 * len(w) * LOG_2PI

    def _point(self, z: Tensor, w: Tensor, comparison: Comparison, cost: float, log_p: float) -> Point:
        data = float(comparison.energy.detach())
        shown = {name: tensor[0] for name, tensor in comparison.shown.items()}
        return Point(z.detach()[0], w, data + self.weight * cost, data, log_p, shown)
