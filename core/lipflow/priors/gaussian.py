"""A Gaussian whose mean and spread are read off the driving signal (Eq. 6)."""

from __future__ import annotations

from torch import Tensor

from lipflow.nets.layers import Linear
from lipflow.priors.base import SIGMAS, LatentPrior, PriorConfig


class Gaussian(LatentPrior):
    """N(μp(h), σp(h)); P and Q are one space."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.sigma = SIGMAS[config.sigma]
        self.head = Linear(config.context, 2 * config.latent, size=0.3)

    def base(self, h: Tensor | None) -> tuple[Tensor, Tensor]:
        mu, raw = self.head(h).chunk(2, dim=-1)
        return mu, self.sigma(raw)
