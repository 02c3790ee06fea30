"""A conditional normalizing flow between the decoder's space Q and the prior's space P (Eq. 8)."""

from __future__ import annotations

import numpy as np
import torch
from nflows.transforms import AffineCouplingTransform, CompositeTransform, Permutation
from torch import Tensor, nn

from lipflow.nets.layers import Linear
from lipflow.priors.base import Carry, LatentPrior, PriorConfig
from lipflow.priors.flow_on_host import CouplingOnHost, FlowUnder


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

    def steps(self) -> list[tuple[Tensor, CappedAffineCoupling]]:
        """f_1 … f_K, from Q to P: each a permutation [Z] and the coupling after it."""
        layers = list(self.transform._transforms)
        return [(p._permutation, c) for p, c in zip(layers[::2], layers[1::2])]

    def to_prior(self, z: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.training:
            return self.transform(z, context=h)
        log_abs_det = z.new_zeros(z.shape[:-1])
        for permutation, coupling in self.steps():
            z = z[..., permutation]
            keep, change = z.split([coupling.num_identity_features, coupling.num_transform_features], dim=-1)
            log_scale, shift = coupling.log_scale_and_shift(coupling.transform_net(keep, h))
            z = torch.cat([keep, change * torch.exp(log_scale) + shift], dim=-1)
            log_abs_det = log_abs_det + log_scale.sum(-1)
        return z, log_abs_det

    def under(self, h: Tensor | None, before: Carry | None = None) -> FlowUnder:
        assert h is not None  # a flow is conditional
        if isinstance(before, FlowUnder) and before.flow is self:
            couplings = before.couplings
        else:
            couplings = [_on_host(permutation, coupling) for permutation, coupling in self.steps()]
        context = h[0].detach().cpu().numpy()
        return FlowUnder(self, couplings, [coupling.bias_under(context) for coupling in couplings])

    def inverse(self, u: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.training:
            z, log_abs_det = self.transform.inverse(u, context=h)
            return z, -log_abs_det
        log_abs_det = u.new_zeros(u.shape[:-1])
        for permutation, coupling in reversed(self.steps()):
            keep, change = u.split([coupling.num_identity_features, coupling.num_transform_features], dim=-1)
            log_scale, shift = coupling.log_scale_and_shift(coupling.transform_net(keep, h))
            u = torch.cat([keep, (change - shift) * torch.exp(-log_scale)], dim=-1)
            u = u[..., torch.argsort(permutation)]
            log_abs_det = log_abs_det + log_scale.sum(-1)
        return u, log_abs_det


def _on_host(permutation: Tensor, coupling: CappedAffineCoupling) -> CouplingOnHost:
    net: Conditioner = coupling.transform_net
    layers = (net.of_half, net.of_context, net.middle, net.last)
    first, of_context, middle, last = (layer.effective_weight().detach().cpu().numpy() for layer in layers)
    biases = [layer.bias.detach().cpu().numpy() for layer in layers]
    order = permutation.cpu().numpy()
    return CouplingOnHost(
        permutation=order,
        inverse=np.argsort(order),
        keep=int(coupling.num_identity_features),
        cap=float(coupling.cap),
        first=first,
        of_context=of_context,
        first_bias=biases[0] + biases[1],
        middle=middle,
        middle_bias=biases[2],
        last=last,
        last_bias=biases[3],
    )
