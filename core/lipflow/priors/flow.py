"""A conditional normalizing flow between the decoder's space Q and the prior's space P (Eq. 8)."""

from __future__ import annotations

import torch
from nflows.transforms import AffineCouplingTransform, CompositeTransform, Permutation
from torch import Tensor, nn

from lipflow.nets.layers import Linear
from lipflow.priors.base import LatentPrior, PriorConfig


class Conditioner(nn.Module):
    """What a coupling does to one half, read off the other half and the context. It starts as the identity's."""

    def __init__(self, inputs: int, outputs: int, context: int, hidden: int) -> None:
        super().__init__()
        self.of_half = Linear(inputs, hidden)
        self.of_context = Linear(context, hidden)
        self.middle = Linear(hidden, hidden)
        self.last = Linear(hidden, outputs, size=0.0)

    def forward(self, half: Tensor, context: Tensor) -> Tensor:
        """[..., inputs] and [..., C] -> [..., outputs]; their leading dimensions broadcast."""
        x = torch.relu(self.of_half(half) + self.of_context(context))
        return self.last(torch.relu(self.middle(x)))

    def jacobian(self, half: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """At one half [inputs] under one context [C]: the output and its derivative [outputs, inputs]."""
        first = self.of_half(half) + self.of_context(context)
        second = self.middle(torch.relu(first))
        inner = self.middle.effective_weight() @ ((first > 0)[:, None] * self.of_half.effective_weight())
        return self.last(torch.relu(second)), self.last.effective_weight() @ ((second > 0)[:, None] * inner)


class CappedAffineCoupling(AffineCouplingTransform):
    """The library's affine coupling with log-scale = cap · tanh(raw / cap): the identity at raw = 0, never singular."""

    def __init__(self, features: int, config: PriorConfig) -> None:
        mask = torch.arange(features) >= features // 2
        super().__init__(mask, lambda inputs, outputs: Conditioner(inputs, outputs, config.context, config.hidden))
        self.cap = config.log_scale_cap

    def log_scale_and_shift(self, params: Tensor) -> tuple[Tensor, Tensor]:
        shift, raw = params.split(self.num_transform_features, dim=-1)
        return self.cap * torch.tanh(raw / self.cap), shift

    def _scale_and_shift(self, transform_params: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.log_scale_and_shift(transform_params)
        return torch.exp(log_scale), shift


class Flow(LatentPrior):
    """F = f_K ∘ … ∘ f_1, affine couplings with fixed random permutations before each, over another prior's base.

    The transforms are nflows'. While training, they are called as they are. In evaluation mode the same parameters
    are applied directly, which skips the library's per-layer bookkeeping, takes any leading dimensions and works
    under torch.func; a test holds both equal.
    """

    def __init__(self, config: PriorConfig, base: LatentPrior) -> None:
        super().__init__()
        self.base_prior = base
        generator = torch.Generator().manual_seed(config.seed)
        transforms: list[nn.Module] = []
        for _ in range(config.couplings):
            transforms.append(Permutation(torch.randperm(config.latent, generator=generator)))
            transforms.append(CappedAffineCoupling(config.latent, config))
        self.transform = CompositeTransform(transforms)

    def base(self, h: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.base_prior.base(h)

    def _steps(self) -> list[tuple[Tensor, CappedAffineCoupling]]:
        layers = list(self.transform._transforms)
        return [(p._permutation, c) for p, c in zip(layers[::2], layers[1::2])]

    def to_prior(self, z: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.training:
            return self.transform(z, context=h)
        log_abs_det = z.new_zeros(z.shape[:-1])
        for permutation, coupling in self._steps():
            z = z[..., permutation]
            keep, change = z.split([coupling.num_identity_features, coupling.num_transform_features], dim=-1)
            log_scale, shift = coupling.log_scale_and_shift(coupling.transform_net(keep, h))
            z = torch.cat([keep, change * torch.exp(log_scale) + shift], dim=-1)
            log_abs_det = log_abs_det + log_scale.sum(-1)
        return z, log_abs_det

    @torch.no_grad()
    def jacobian(self, z: Tensor, h: Tensor | None) -> Tensor:
        """By the chain rule through the couplings, written out: several times as fast as autograd."""
        assert h is not None  # a flow is conditional
        total = torch.eye(len(z), dtype=z.dtype, device=z.device)  # ∂(what the next coupling takes)/∂z
        for permutation, coupling in self._steps():
            z, total = z[permutation], total[permutation]
            split = [coupling.num_identity_features, coupling.num_transform_features]
            (keep, change), (total_keep, total_change) = z.split(split), total.split(split)
            params, by_keep = coupling.transform_net.jacobian(keep, h[0])
            log_scale, shift = coupling.log_scale_and_shift(params)
            shift_by_keep, raw_by_keep = by_keep.split(split[1])
            # d (cap · tanh(raw / cap)) = (1 − (log_scale / cap)²) d raw
            log_scale_by_keep = (1 - (log_scale / coupling.cap) ** 2)[:, None] * raw_by_keep
            scaled = change * torch.exp(log_scale)
            by_keep = scaled[:, None] * log_scale_by_keep + shift_by_keep
            total = torch.cat([total_keep, torch.exp(log_scale)[:, None] * total_change + by_keep @ total_keep])
            z = torch.cat([keep, scaled + shift])
        return total

    def to_decoder(self, u: Tensor, h: Tensor | None) -> Tensor:
        if self.training:
            return self.transform.inverse(u, context=h)[0]
        for permutation, coupling in reversed(self._steps()):
            keep, change = u.split([coupling.num_identity_features, coupling.num_transform_features], dim=-1)
            log_scale, shift = coupling.log_scale_and_shift(coupling.transform_net(keep, h))
            u = torch.cat([keep, (change - shift) * torch.exp(-log_scale)], dim=-1)
            u = u[..., torch.argsort(permutation)]
        return u
