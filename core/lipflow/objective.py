"""The training objective (Eq. 2): from a batch and a variant to its terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.capture.packed import Batch
from lipflow.checks import InputError
from lipflow.losses import (
    image_loss,
    kl_divergence,
    kl_to_standard_normal,
    mesh_loss,
    monte_carlo_kl,
    negative_log_likelihood,
    texture_loss,
)
from lipflow.priors import LatentPrior
from lipflow.rendering import Renderer
from lipflow.variants import Variant


@dataclass(frozen=True, eq=False)
class Latent:
    """Everything that happens to the codes of one batch, [B, Z] unless said otherwise ([1, Z] without a context)."""

    mu_q: Tensor  # the posterior's mean, in Q
    log_sigma_q: Tensor
    z: Tensor  # a sample of it
    u: Tensor  # the sample carried into P
    log_abs_det: Tensor  # [B] log |det ∂u/∂z|
    mu_p: Tensor  # the prior's mean, in P
    log_sigma_p: Tensor

    @property
    def nll(self) -> Tensor:
        return negative_log_likelihood(self.u, self.mu_p, self.log_sigma_p, self.log_abs_det)


LATENT_LOSSES: dict[str, Callable[[Latent], Tensor]] = {
    "kl": lambda c: kl_divergence(c.mu_q, c.log_sigma_q, c.mu_p, c.log_sigma_p),  # Eq. 7; Eq. 4 under N(0, I)
    "kl-standard": lambda c: kl_to_standard_normal(c.mu_q, c.log_sigma_q),  # Eq. 4 whatever the prior
    "nll": lambda c: c.nll,  # Eq. 9, literally: no entropy of Q
    "mc-kl": lambda c: monte_carlo_kl(c.z, c.mu_q, c.log_sigma_q, c.nll),  # Eq. 9 with it
}

Cycle = Callable[[LatentPrior, Latent, Tensor | None, float, Tensor], Tensor]


def _jittered(prior: LatentPrior, codes: Latent, h: Tensor | None, jitter: float, noise: Tensor) -> Tensor:
    # The image loss sees σp here: u, μp and σp may be scaled together at no cost, and where the jitter did not follow,
    # it drove u away from its own size without end (σp reached its cap, e^5).
    return prior.to_decoder(codes.u + jitter * torch.exp(codes.log_sigma_p) * noise, h)


CYCLES: dict[str, Cycle] = {
    "none": lambda prior, codes, h, jitter, noise: codes.z,
    # F⁻¹(F(z; h); h) = z for all parameters: exact arithmetic sends no gradient into F here. Kept as published.
    "literal": lambda prior, codes, h, jitter, noise: prior.to_decoder(codes.u, h),
    "jittered": _jittered,  # leaves from a neighbour of F(z; h) in P, so that the images do see F⁻¹
}


@dataclass(frozen=True, eq=False)
class Terms:
    """The objective's terms, unweighted, and the codes that they are of."""

    losses: dict[str, Tensor]  # of "image", "texture", "mesh", "latent": those that this step has; scalars
    codes: Latent


@dataclass(frozen=True, eq=False)
class Objective:
    """Eq. 2 for one variant. Noise is drawn on the CPU, so that every device sees the same."""

    variant: Variant
    latent_loss: str  # a key of LATENT_LOSSES
    cycle: str  # a key of CYCLES
    jitter: float  # of the jittered cycle, in units of σp

    def __post_init__(self) -> None:
        for name, table in (("latent_loss", LATENT_LOSSES), ("cycle", CYCLES)):
            if getattr(self, name) not in table:
                raise InputError(name, expected=" or ".join(table), got=repr(getattr(self, name)))
        if self.latent_loss == "kl" and self.variant.prior.startswith("flow"):
            mend = "take nll or mc-kl"
            raise InputError("latent_loss", expected="one that a flow's density has", got="'kl'", mend=mend)

    def posterior(self, avatar: Avatar, batch: Batch, h: Tensor | None) -> tuple[Tensor, Tensor]:
        """μ and log σ of the codes that the decoder is trained with, [B, Z] each, in Q."""
        if self.variant.posterior == "driving":
            return avatar.prior.base(h)
        return avatar.encode(batch.average_texture, batch.vertices)

    def codes(self, avatar: Avatar, batch: Batch, h: Tensor | None, noise: Tensor) -> Latent:
        """Draw Q's sample with ``noise`` [B, Z] and carry it into P."""
        mu_q, log_sigma_q = self.posterior(avatar, batch, h)
        z = mu_q + torch.exp(log_sigma_q) * noise
        u, log_abs_det = avatar.prior.to_prior(z, h)
        return Latent(mu_q, log_sigma_q, z, u, log_abs_det, *avatar.prior.base(h))

    def terms(
        self,
        avatar: Avatar,
        batch: Batch,
        driving: Tensor | None,
        noise: Tensor,
        *,
        renderer: Renderer | None = None,
        image_rows: int | None = None,
    ) -> Terms:
        """All terms of one batch.

        Args:
            driving: what the avatar's driver sees (the batch's signal, perhaps with noise).
            noise: [3, B, Z] standard normal, of Q's sample, the jittered cycle and the prior's sample.
            renderer: None leaves the image term out.
            image_rows: render only the first rows of the batch.
        """
        h = avatar.context(driving)
        codes = self.codes(avatar, batch, h, noise[0])
        losses = {"latent": LATENT_LOSSES[self.latent_loss](codes).mean() / avatar.config.latent}
        if "decoder" in self.variant.trains:
            for name in self.variant.decodes:
                if name == "q":
                    z = CYCLES[self.cycle](avatar.prior, codes, h, self.jitter, noise[1])
                else:
                    z = avatar.prior.to_decoder(codes.mu_p + torch.exp(codes.log_sigma_p) * noise[2], h)
                for term, loss in _reconstruction(avatar, batch, z, renderer, image_rows).items():
                    losses[term] = losses[term] + loss if term in losses else loss
        return Terms(losses, codes)


def _reconstruction(
    avatar: Avatar, batch: Batch, z: Tensor, renderer: Renderer | None, image_rows: int | None
) -> dict[str, Tensor]:
    decoded = avatar.decode(z, batch.camera.view)
    texture_std, vertex_std = avatar.statistics.texture_std, avatar.statistics.vertex_std
    losses = {
        "texture": texture_loss(decoded.texture, batch.view_texture, avatar.texture_valid, texture_std),
        "mesh": mesh_loss(decoded.vertices, batch.vertices, vertex_std),
    }
    if renderer is not None:
        some = slice(image_rows)
        drawn = renderer.render(decoded.vertices[some], decoded.texture[some], batch.camera[some])
        losses["image"] = image_loss(drawn.rgb, batch.photo[some], batch.mask[some], texture_std)
    return losses


@torch.no_grad()
def watched(codes: Latent) -> dict[str, Tensor]:
    """What to log of a batch's codes beside the terms; detached scalars."""
    return {
        "sigma_q": codes.log_sigma_q.exp().mean(),
        "sigma_p": codes.log_sigma_p.exp().mean(),
        "log_abs_det": codes.log_abs_det.mean(),
        "nll": codes.nll.mean(),
        "mu_q_spread": codes.mu_q.std(0, correction=0).mean(),
    }
