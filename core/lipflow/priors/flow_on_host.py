"""A flow applied to one code at a time, on the host and in numpy (see ``Passage``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.priors.base import Array, Carry, InverseJacobian, LatentPrior, Passage, Return


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

    def bias_under(self, h: Array) -> Array:
        """[H], the first layer's with the part of a context [C]."""
        return self.of_context @ h + self.first_bias

    def halves(self, x: Array) -> tuple[Array, Array]:
        """The half that stays as it is, and the other; of codes or columns of them, [Z, ...]."""
        return x[: self.keep], x[self.keep :]

    def change(self, kept: Array, first_bias: Array) -> _Change:
        """What the kept half [N] says of the other."""
        first = np.maximum(self.first @ kept + first_bias, 0)
        second = np.maximum(self.middle @ first + self.middle_bias, 0)
        change = self.last @ second + self.last_bias
        shift, raw = change[: len(change) // 2], change[len(change) // 2 :]
        bent = np.tanh(raw / self.cap)
        return _Change(self, first, second, shift, bent, np.exp(self.cap * bent))


@dataclass(frozen=True, eq=False)
class _Change:
    """Scale and shift of a coupling's changed half at one code, and what was kept to differentiate them."""

    coupling: CouplingOnHost
    first: Array  # [H] hidden units
    second: Array  # [H]
    shift: Array  # [Z - N]
    bent: Array  # [Z - N] the log-scale over its cap
    scale: Array  # [Z - N]

    @property
    def log_abs_det(self) -> float:
        return self.coupling.cap * float(self.bent.sum())

    def pull_back(self, by_shift: Array, by_log_scale: Array) -> Array:
        """From derivatives by shift and log-scale, [Z - N] each, to those by the kept half [N]."""
        by_raw = by_log_scale * (1 - self.bent**2)  # d (cap · tanh(raw / cap)) = (1 − tanh²) d raw
        by_second = np.concatenate([by_shift, by_raw]) @ self.coupling.last * (self.second > 0)
        by_first = by_second @ self.coupling.middle * (self.first > 0)
        return by_first @ self.coupling.first


class _Step:
    """One code carried through one coupling, and what was kept to differentiate that."""

    def __init__(self, coupling: CouplingOnHost, first_bias: Array, x: Array) -> None:
        self._coupling = coupling
        kept, changed = coupling.halves(x[coupling.permutation])
        self._change = coupling.change(kept, first_bias)
        self._scaled = changed * self._change.scale
        self.output = np.concatenate([kept, self._scaled + self._change.shift])
        self.log_abs_det = self._change.log_abs_det

    def pull_back(self, by_output: Array, by_log_abs_det: float) -> Array:
        by_kept, by_changed = self._coupling.halves(by_output)
        by_kept = by_kept + self._change.pull_back(by_changed, by_changed * self._scaled + by_log_abs_det)
        return np.concatenate([by_kept, by_changed * self._change.scale])[self._coupling.inverse]

    def push(self, total: Tensor) -> Tensor:
        """∂(what comes in)/∂x -> ∂(what goes out)/∂x, [Z, X] each, for any x."""
        keep, scale = self._coupling.keep, torch.from_numpy(self._change.scale)[:, None]
        total = total[torch.from_numpy(self._coupling.permutation)]
        total[keep:].mul_(scale).addmm_(self._changed_by_kept(), total[:keep])
        return total

    def inverse(self) -> _InverseStep:
        return _InverseStep(self._coupling, self._change.scale, self._changed_by_kept())

    def _changed_by_kept(self) -> Tensor:
        """∂(changed half)/∂(kept half), [Z - N, N]; only through the hidden units that are on."""
        coupling, change = self._coupling, self._change
        first, second = np.flatnonzero(change.first > 0), np.flatnonzero(change.second > 0)
        by_shift, by_raw = coupling.last[: len(self._scaled)], coupling.last[len(self._scaled) :]
        last = (by_shift + (self._scaled * (1 - change.bent**2))[:, None] * by_raw)[:, second]
        middle = coupling.middle[second][:, first]
        return torch.from_numpy(last) @ (torch.from_numpy(middle) @ torch.from_numpy(coupling.first[first]))


@dataclass(frozen=True, eq=False)
class _InverseStep:
    """The derivative of what came into a coupling by what goes out, at one code."""

    coupling: CouplingOnHost
    scale: Array  # [Z - N]
    changed_by_kept: Tensor  # [Z - N, N]

    def apply(self, by: Array) -> Array:
        kept, changed = self.coupling.halves(by)
        changed = (changed - self.changed_by_kept.numpy() @ kept) / self.scale
        return np.concatenate([kept, changed])[self.coupling.inverse]

    def pull_back(self, by_input: Array) -> Array:
        """Derivatives of n things by what came in, as columns [Z, n] -> by what goes out."""
        by = by_input[self.coupling.permutation]
        kept, changed = self.coupling.halves(by)
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


class _StepBack:
    """One code carried back through one coupling, and what was kept to differentiate that."""

    def __init__(self, coupling: CouplingOnHost, first_bias: Array, y: Array) -> None:
        self._coupling = coupling
        kept, changed = coupling.halves(y)
        self._change = coupling.change(kept, first_bias)
        self._unscaled = (changed - self._change.shift) / self._change.scale
        self.input = np.concatenate([kept, self._unscaled])[coupling.inverse]
        self.log_abs_det = self._change.log_abs_det

    def pull_back(self, by_input: Array, by_log_abs_det: float) -> Array:
        by_kept, by_unscaled = self._coupling.halves(by_input[self._coupling.permutation])
        by_changed = by_unscaled / self._change.scale
        by_log_scale = by_log_abs_det - by_unscaled * self._unscaled
        return np.concatenate([by_kept + self._change.pull_back(-by_changed, by_log_scale), by_changed])


class FlowReturn(Return):
    """One code carried back through a flow under one context."""

    def __init__(self, couplings: list[CouplingOnHost], first_biases: list[Array], u: Array) -> None:
        self._steps = []
        for coupling, bias in zip(reversed(couplings), reversed(first_biases)):
            self._steps.append(_StepBack(coupling, bias, u))
            u = self._steps[-1].input
        super().__init__(u, sum(step.log_abs_det for step in self._steps))

    def pull_back(self, by_z: Array, by_log_abs_det: float) -> Array:
        for step in reversed(self._steps):
            by_z = step.pull_back(by_z, by_log_abs_det)
        return by_z


@dataclass(frozen=True, eq=False)
class FlowUnder(Carry):
    """A flow under one context: carries one code at a time."""

    flow: LatentPrior
    couplings: list[CouplingOnHost]
    first_biases: list[Array]  # [H] each, the context's part included

    def __call__(self, z: Array) -> FlowPassage:
        return FlowPassage(self.couplings, self.first_biases, z)

    def back(self, u: Array) -> FlowReturn:
        return FlowReturn(self.couplings, self.first_biases, u)
