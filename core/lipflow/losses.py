"""The terms of the training objective (Eq. 2), one pure function each. All but the latent terms are means.

Errors of images, textures and meshes are divided by the statistics' standard deviation, so that one weight suits
every capture; latent terms are sums over the code's dimensions, in nats, one number a sample.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lipflow.priors import gaussian_log_prob


def image_loss(rendered: Tensor, photo: Tensor, mask: Tensor, std: float) -> Tensor:
    """‖(I − Î) ⊙ W‖² (Eq. 3) as a mean over the masked pixels: [B, 3, H, W] twice and W [B, H, W] -> scalar."""
    weight = mask[:, None]
    count = (rendered.shape[1] * weight.sum()).clamp_min(1.0)
    return _MaskedSquares.apply(rendered, photo, weight) / (count * std**2)


def texture_loss(decoded: Tensor, recorded: Tensor, valid: Tensor, std: float) -> Tensor:
    """‖T − T̂‖² over the texels that the camera saw, as a mean; a recorded channel of exactly 0 was not seen.

    ``decoded``, ``recorded`` [B, 3, T, T] linear RGB; ``valid`` [T, T] the texels that the surface uses.
    """
    seen = (recorded > 0) & valid
    return _MaskedSquares.apply(decoded, recorded, seen) / (seen.sum().clamp_min(1) * std**2)


def mesh_loss(decoded: Tensor, tracked: Tensor, std: float) -> Tensor:
    """‖M − M̂‖² (Eq. 3) as a mean over coordinates; [B, V, 3] mm twice -> scalar."""
    return ((decoded - tracked) / std).square().mean()


def kl_divergence(mu_q: Tensor, log_sigma_q: Tensor, mu_p: Tensor, log_sigma_p: Tensor) -> Tensor:
    """KL(N(μq, σq) ‖ N(μp, σp)) in closed form (Eq. 7), [B, Z] each -> [B]."""
    ratio = torch.exp(2 * (log_sigma_q - log_sigma_p))
    distance = ((mu_q - mu_p) * torch.exp(-log_sigma_p)).square()
    return (log_sigma_p - log_sigma_q + 0.5 * (ratio + distance - 1)).sum(-1)


def kl_to_standard_normal(mu_q: Tensor, log_sigma_q: Tensor) -> Tensor:
    """KL(N(μq, σq) ‖ N(0, I)) (Eq. 4), [B, Z] each -> [B]."""
    return (0.5 * (mu_q.square() + torch.exp(2 * log_sigma_q) - 1) - log_sigma_q).sum(-1)


def negative_log_likelihood(u: Tensor, mu_p: Tensor, log_sigma_p: Tensor, log_abs_det: Tensor) -> Tensor:
    """−log p_P(z) = −log N(u; μp, σp) − log |det ∂u/∂z| with u = F(z; h) (Eq. 9), [B, Z] and [B] -> [B].

    BOTH terms carry a minus: change of variables adds the log-determinant to the log-likelihood, and the loss is its
    negative. (The paper's figures print a plus inside the loss.) Without a flow log |det| is 0: the regressor's loss.

    This term knows nothing of Q's entropy: it keeps falling as σq contracts. See ``monte_carlo_kl``.
    """
    return -gaussian_log_prob(u, mu_p, log_sigma_p) - log_abs_det


def monte_carlo_kl(z: Tensor, mu_q: Tensor, log_sigma_q: Tensor, nll: Tensor) -> Tensor:
    """log q(z) − log p_P(z) for z drawn from N(μq, σq): an unbiased estimate of KL(q ‖ p_P), [B].

    ``nll`` is ``negative_log_likelihood``. With σq ≡ 1 it differs from that by a constant, in expectation.
    """
    return gaussian_log_prob(z, mu_q, log_sigma_q) + nll


class _MaskedSquares(torch.autograd.Function):
    """Σ ((a − b) ⊙ w)², with a gradient to a. Large textures make the passes over memory count: this takes four."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        difference = (a - b).mul_(weight)
        ctx.save_for_backward(difference, weight)
        return torch.linalg.vector_norm(difference).square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        difference, weight = ctx.saved_tensors
        scaled = difference * (2 * gradient)
        return scaled if weight.dtype == torch.bool else scaled.mul_(weight), None, None
