"""N(0, I), the prior of the plain Deep Appearance Model."""

from __future__ import annotations

import torch
from torch import Tensor

from lipflow.priors.base import LatentPrior, PriorConfig


class StandardNormal(LatentPrior):
    """N(0, I); P and Q are one space. It looks at h for the batch size only."""

    conditional = False
    zeros: Tensor

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(1, config.latent), persistent=False)

    def base(self, h: Tensor | None) -> tuple[Tensor, Tensor]:
        zeros = self.zeros if h is None else self.zeros.expand(len(h), -1)
        return zeros, zeros
