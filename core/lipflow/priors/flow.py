"""A conditional normalizing flow between the decoder's space Q and the prior's space P (Eq. 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from nflows.transforms import AffineCouplingTransform, CompositeTransform, Permutation
from torch import Tensor, nn

from lipflow.nets.layers import Linear
from lipflow.priors.base import Array, Carry, InverseJacobian, LatentPrior, Passage, PriorConfig


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


@dataclass(frozen=True, eq=False)
class CouplingOnHost:
    """A coupling and the permutation before it, as arrays on the host."""

    permutation: npt.NDArray[np.int64]  # [Z]
    inverse: npt.NDArray[np.int64]  # [Z]
    keep: int  # N, how many coordinates stay as they are
    cap: float
    first: Array  # [H, N]
    of_context: Array  # [H, C], beside ``first``
    first_bias: Array  # [H]
    middle: Array  # [H, H]
    middle_bias: Array  # [H]
    last: Array  # [2 (Z - N), H], shifts and raw log-scales
    last_bias: Array  # [2 (Z - N)]

    @staticmethod
    def of(permutation: Tensor, coupling: CappedAffineCoupling) -> CouplingOnHost:
        net: Conditioner = coupling.transform_net
        layers = (net.of_half, net.of_context, net.middle, net.last)
        first, of_context, middle, last = (_on_host(layer.effective_weight()) for layer in layers)
        biases = [_on_host(layer.bias) for layer in layers]
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

    def bias_under(self, h: Array) -> Array:
        """[H], the first layer's with the part of a context [C]."""
        return self.of_context @ h + self.first_bias


class _Step:
    """One code carried through one coupling, and what was kept to differentiate that."""

    def __init__(self, coupling: CouplingOnHost, first_bias: Array, x: Array) -> None:
        self._coupling, keep = coupling, coupling.keep
        x = x[coupling.permutation]
        self._first = np.maximum(coupling.first @ x[:keep] + first_bias, 0)
        self._second = np.maximum(coupling.middle @ self._first + coupling.middle_bias, 0)
        change = coupling.last @ self._second + coupling.last_bias
        changed = len(x) - keep
        shift, raw = change[:changed], change[changed:]
        self._bent = np.tanh(raw / coupling.cap)
        self._scale = np.exp(coupling.cap * self._bent)
        self._scaled = x[keep:] * self._scale
        self.output = np.concatenate([x[:keep], self._scaled + shift])
        self.log_abs_det = coupling.cap * float(self._bent.sum())

    def pull_back(self, by_output: Array, by_log_abs_det: float) -> Array:
        coupling, keep = self._coupling, self._coupling.keep
        by_changed = by_output[keep:]
        # d (cap · tanh(raw / cap)) = (1 − tanh²) d raw
        by_raw = (by_changed * self._scaled + by_log_abs_det) * (1 - self._bent**2)
        by_second = np.concatenate([by_changed, by_raw]) @ coupling.last * (self._second > 0)
        by_first = by_second @ coupling.middle * (self._first > 0)
        by_kept = by_output[:keep] + by_first @ coupling.first
        return np.concatenate([by_kept, by_changed * self._scale])[coupling.inverse]

    def push(self, total: Tensor) -> Tensor:
        """∂(what comes in)/∂x -> ∂(what goes out)/∂x, [Z, X] each, for any x."""
        keep, scale = self._coupling.keep, torch.from_numpy(self._scale)[:, None]
        total = total[torch.from_numpy(self._coupling.permutation)]
        total[keep:].mul_(scale).addmm_(self._changed_by_kept(), total[:keep])
        return total

    def inverse(self) -> _InverseStep:
        return _InverseStep(self._coupling, self._scale, self._changed_by_kept())

    def _changed_by_kept(self) -> Tensor:
        """∂(changed half)/∂(kept half), [Z - N, N]; only through the hidden units that are on."""
        coupling = self._coupling
        first, second = np.flatnonzero(self._first > 0), np.flatnonzero(self._second > 0)
        by_shift, by_raw = coupling.last[: len(self._scaled)], coupling.last[len(self._scaled) :]
        last = (by_shift + (self._scaled * (1 - self._bent**2))[:, None] * by_raw)[:, second]
        middle = coupling.middle[second][:, first]
        return torch.from_numpy(last) @ (torch.from_numpy(middle) @ torch.from_numpy(coupling.first[first]))


@dataclass(frozen=True, eq=False)
class _InverseStep:
    """The derivative of what came into a coupling by what goes out, at one code."""

    coupling: CouplingOnHost
    scale: Array  # [Z - N]
    changed_by_kept: Tensor  # [Z - N, N]

    def apply(self, by: Array) -> Array:
        kept, changed = by[: self.coupling.keep], by[self.coupling.keep :]
        changed = (changed - self.changed_by_kept.numpy() @ kept) / self.scale
        return np.concatenate([kept, changed])[self.coupling.inverse]

    def pull_back(self, by_input: Array) -> Array:
        """Derivatives of n things by what came in, as columns [Z, n] -> by what goes out."""
        by = by_input[self.coupling.permutation]
        kept, changed = by[: self.coupling.keep], by[self.coupling.keep :]
        changed /= self.scale[:, None]
        torch.from_numpy(kept).addmm_(self.changed_by_kept.T, torch.from_numpy(changed), alpha=-1)
        return by


class FlowInverseJacobian(InverseJacobian):
    """∂z/∂u of a flow at one code, coupling by coupling."""

    def __init__(self, steps: list[_InverseStep]) -> None:
        self._steps = steps

    def apply(self, by: Array) -> Array:
        for step in reversed(self._steps):
            by = step.apply(by)
        return by

    def pull_back(self, by_z: Array) -> Array:
        by = np.ascontiguousarray(by_z.T)
        for step in self._steps:
            by = step.pull_back(by)
        return by.T


class FlowPassage(Passage):
    """One code carried through a flow under one context."""

    def __init__(self, couplings: list[CouplingOnHost], first_biases: list[Array], z: Array) -> None:
        self._steps = []
        for coupling, bias in zip(couplings, first_biases):
            self._steps.append(_Step(coupling, bias, z))
            z = self._steps[-1].output
        super().__init__(z, sum(step.log_abs_det for step in self._steps))

    def pull_back(self, by_u: Array, by_log_abs_det: float) -> Array:
        for step in reversed(self._steps):
            by_u = step.pull_back(by_u, by_log_abs_det)
        return by_u

    def jacobian(self) -> Tensor:
        total = super().jacobian()
        for step in self._steps:
            total = step.push(total)
        return total

    def inverse_jacobian(self) -> FlowInverseJacobian:
        return FlowInverseJacobian([step.inverse() for step in self._steps])


@dataclass(frozen=True, eq=False)
class FlowUnder:
    """A flow under one context: carries one code at a time."""

    flow: Flow
    couplings: list[CouplingOnHost]
    first_biases: list[Array]  # [H] each, the context's part included

    def __call__(self, z: Array) -> FlowPassage:
        return FlowPassage(self.couplings, self.first_biases, z)


def _on_host(tensor: Tensor) -> Array:
    return tensor.detach().cpu().numpy()


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
            couplings = [CouplingOnHost.of(permutation, coupling) for permutation, coupling in self.steps()]
        context = _on_host(h[0])
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
