"""What a fit minimises, and a code with what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.observations import Comparison, Observation
from lipflow.priors.base import LatentPrior

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
        return self._back(w)[0]

    def _back(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened codes [B, Z] -> codes [B, Z] and log|det| of F there, [B], as ``whiten`` has it."""
        return self.prior.inverse(self.mu + torch.exp(self.log_sigma) * w, self.context)

    def densities(self, w: Tensor, log_abs_det: Tensor) -> tuple[Tensor, Tensor]:
        """(−log p in the chosen space, log p of the decoder's code), [B] each, of whitened codes [B, Z]."""
        log_normal = -0.5 * w.square().sum(-1) - self.log_sigma.sum() - 0.5 * w.shape[-1] * LOG_2PI
        log_p = log_normal + log_abs_det
        return -(log_p if self.space == "z" else log_normal), log_p

    def evaluate(self, unknown: Tensor, *, whitened: bool) -> tuple[Point, Tensor]:
        """A code [Z] or its whitened form, with what it costs; and the energy's gradient by it, [Z]."""
        x = unknown.detach().clone()[None].requires_grad_(True)
        with torch.enable_grad():
            if whitened:
                w, (z, log_abs_det) = x, self._back(x)
            else:
                z, (w, log_abs_det) = x, self.whiten(x)
            comparison = self.compare(z)
            cost, log_p = self.densities(w, log_abs_det)
            total = comparison.energy.sum()
            total = total + self.weight * cost.sum() if self.weight > 0 else total
            (gradient,) = torch.autograd.grad(total, x)
        data = float(comparison.energy.detach())
        energy = data + self.weight * float(cost.detach())
        shown = {name: tensor[0] for name, tensor in comparison.shown.items()}
        return Point(z.detach()[0], w.detach()[0], energy, data, float(log_p.detach()), shown), gradient[0]
