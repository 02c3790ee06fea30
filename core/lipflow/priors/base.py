"""A prior maps a context h to a distribution over the latent code z."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOG_2PI = math.log(2 * math.pi)
Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class PriorConfig:
    """Sizes of a prior; each prior reads what concerns it."""

    latent: int = 256  # Z
    context: int = 256  # C, the width of h
    sigma: str = "capped"  # how σp is made of the network's output: a key of SIGMAS
    couplings: int = 4  # K, the flow's transformations
    hidden: int = 160  # width of a coupling's two hidden layers
    log_scale_cap: float = 2.0  # a coupling's log-scale is softly capped at ± this
    seed: int = 0  # of the fixed permutations between the couplings


SIGMA_CAP = 5.0  # of |log σ|
SIGMAS = {
    "capped": lambda raw: SIGMA_CAP * torch.tanh(raw / SIGMA_CAP),  # free between e^-5 and e^5
    "multiface": lambda raw: 0.01 * raw,  # near 1; slows its contraction, and is no floor
    "one": lambda raw: torch.zeros_like(raw),
    "free": lambda raw: raw,
    # Free below 1, 0.88 at first: μ sets the scale of the code, and a σq that grows before it (a free one passed 600
    # within 40 steps) drowns it.
    "below-one": lambda raw: F.logsigmoid(raw + 2),
}  # raw network output -> log σ


def gaussian_log_prob(x: Tensor, mu: Tensor, log_sigma: Tensor) -> Tensor:
    """log N(x; μ, σ) of a diagonal Gaussian, [..., Z] -> [...]."""
    return -(0.5 * ((x - mu) * torch.exp(-log_sigma)) ** 2 + log_sigma + 0.5 * LOG_2PI).sum(-1)


class InverseJacobian:
    """∂z/∂u at one code, as a product that is never multiplied out; this one is the identity's.

    A fit applies it to few vectors, and multiplying whole matrices is long enough for another thread to take the
    interpreter meanwhile.
    """

    def apply(self, by: Array) -> Array:
        """A small step of u [Z] as one of z, [Z]."""
        return by

    def pull_back(self, by_z: Array) -> Array:
        """From derivatives of n things by z [n, Z] to those by u."""
        return by_z


class Passage:
    """One code carried from Q to P, and what was kept to differentiate that; this one is the identity's.

    It lives on the host and in numpy, whose calls cost a fifth of torch's: at a code's size those calls, not the
    arithmetic, are what a fit to keypoints waits for.
    """

    def __init__(self, u: Array, log_abs_det: float = 0.0) -> None:
        self.u, self.log_abs_det = u, log_abs_det  # [Z]; log |det du/dz|

    def pull_back(self, by_u: Array, by_log_abs_det: float) -> Array:
        """From the gradient of anything by u [Z] and by log |det| to that by z [Z]."""
        return by_u

    def jacobian(self) -> Tensor:
        """∂u/∂z, [Z, Z], on the host."""
        return torch.from_numpy(np.eye(len(self.u), dtype=self.u.dtype))

    def inverse_jacobian(self) -> InverseJacobian:
        """∂z/∂u, on the host."""
        return InverseJacobian()


class Return:
    """One code carried back from P to Q, and what was kept to differentiate that; see ``Passage``. The identity's."""

    def __init__(self, z: Array, log_abs_det: float = 0.0) -> None:
        self.z, self.log_abs_det = z, log_abs_det  # [Z]; log |det du/dz| there, as a passage has it

    def pull_back(self, by_z: Array, by_log_abs_det: float) -> Array:
        """From the gradient of anything by z [Z] and by log |det du/dz| to that by u [Z]."""
        return by_z


class Carry:
    """The bijection between Q and P under one context, for one code at a time; this one is the identity."""

    def __call__(self, z: Array) -> Passage:
        """z [Z] -> its passage to P."""
        return Passage(z)

    def back(self, u: Array) -> Return:
        """u [Z] -> its return to Q."""
        return Return(u)


class LatentPrior(nn.Module):
    """A Gaussian in the prior's own space P (``base``) and a bijection between P and the decoder's space Q.

    Codes in Q are called z, codes in P are called u. ``h`` [B, C] is the context; a prior without a context takes
    None and then broadcasts over z. The bijection is the identity unless a subclass says otherwise.
    """

    conditional: bool = True  # whether h is needed

    def base(self, h: Tensor | None) -> tuple[Tensor, Tensor]:
        """μp and log σp in P, [B, Z] each ([1, Z] without a context)."""
        raise NotImplementedError

    def to_prior(self, z: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        """Carry z [..., Z] from Q to P: (u [..., Z], log |det du/dz| [...])."""
        return z, z.new_zeros(z.shape[:-1])

    def inverse(self, u: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        """Carry u [..., Z] from P to Q: (z [..., Z], log |det du/dz| [...] as ``to_prior`` has it there)."""
        return u, u.new_zeros(u.shape[:-1])

    def to_decoder(self, u: Tensor, h: Tensor | None) -> Tensor:
        """The first of what ``inverse`` gives: the code alone, [..., Z]."""
        return self.inverse(u, h)[0]

    def under(self, h: Tensor | None, before: Carry | None = None) -> Carry:
        """The bijection under one context [1, C], for one code at a time, in the parameters' precision.

        What it has in common with ``before``, the same under another context, is taken over: the prior is frozen
        meanwhile.
        """
        return Carry()

    def jacobian(self, z: Tensor, h: Tensor | None) -> Tensor:
        """∂u/∂z at one code [Z] under one context [1, C]: [Z, Z]."""
        return self.under(h)(z.detach().cpu().numpy()).jacobian().to(z)

    def log_prob(self, z: Tensor, h: Tensor | None) -> Tensor:
        """log p(z | h) in Q (Eq. 9): log N(u; μp, σp) + log |det du/dz|, [B]."""
        u, log_abs_det = self.to_prior(z, h)
        mu, log_sigma = self.base(h)
        return gaussian_log_prob(u, mu, log_sigma) + log_abs_det

    def start(self, h: Tensor | None) -> Tensor:
        """The code that the prior's mean stands for, in Q: the guess before any fit, [B, Z] ([1, Z] without h)."""
        return self.to_decoder(self.base(h)[0], h)

    def sample(
        self, h: Tensor | None, n: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n codes for each context, in Q: [B, n, Z]. The generator's device is where the noise is drawn."""
        mu, log_sigma = self.base(h)
        drawn_on = mu.device if generator is None else generator.device
        noise = torch.randn(len(mu), n, mu.shape[-1], generator=generator, device=drawn_on).to(mu)
        u = mu[:, None] + temperature * torch.exp(log_sigma)[:, None] * noise
        repeated = None if h is None else h[:, None].expand(-1, n, -1).flatten(0, 1)
        return self.to_decoder(u.flatten(0, 1), repeated).view_as(u)
