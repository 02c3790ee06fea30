"""A prior for sequences: z_t given the driving signal's feature h_t and the code before it, z_{t−1}.

It is the avatar's own conditional prior (Eq. 6–9) with a wider context, (h_t, z_{t−1}, whether there is a z_{t−1}),
and starts as that prior exactly: what belongs to z_{t−1} has weight 0. The paper names it as future work.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lipflow.avatar import Avatar
from lipflow.checkpoint import load_tensors, save_tensors, take
from lipflow.checks import InputError, check_shape
from lipflow.device import host_copy
from lipflow.fitting import FitConfig, begin, make_problem
from lipflow.nets.layers import Linear
from lipflow.observations import Observation
from lipflow.priors import Flow, Gaussian, LatentPrior, PriorConfig
from lipflow.serial import from_json, to_json
from lipflow.solvers import Problem

FORMAT = "lipflow-temporal"


class TemporalPrior(nn.Module):
    """p(z_t | h_t, z_{t−1}): a flow whose context is h_t, z_{t−1} in units of its spread, and a flag.

    Made by ``of``, for one avatar; trained by ``lipflow.temporal_training``.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, config: PriorConfig, *, avatar: str) -> None:
        """``config.context`` is the width of h alone; ``avatar`` names the avatar that it belongs to."""
        super().__init__()
        self.config, self.avatar = config, avatar
        self.record: dict[str, Any] = {}  # how it was trained
        wide = replace(config, context=config.context + config.latent + 1)
        self.prior: LatentPrior = Flow(wide, Gaussian(wide))
        self.register_buffer("mean", torch.zeros(config.latent))  # of the training codes
        self.register_buffer("spread", torch.ones(config.latent))

    @staticmethod
    def of(avatar: Avatar, codes: Tensor) -> TemporalPrior:
        """A prior that starts as the avatar's own, for codes like ``codes`` [N, Z].

        Where the avatar has no flow of its own, the new couplings' first layers are drawn; their last start at 0.

        Raises:
            InputError: for an avatar whose prior nothing drives.
        """
        own = avatar.prior
        base = own.base_prior if isinstance(own, Flow) else own
        if not isinstance(base, Gaussian):
            got = f"one under {avatar.config.prior}"
            raise InputError("temporal prior", expected="an avatar whose prior is driven by a signal", got=got)
        check_shape({"Z": avatar.config.latent}, codes=(codes, "N Z"))
        temporal = TemporalPrior(avatar.config.prior_config(), avatar=name_of(avatar))
        temporal.mean.copy_(codes.mean(0))
        temporal.spread.copy_(codes.std(0).clamp_min(1e-3))
        flow = temporal.prior
        assert isinstance(flow, Flow)  # as made above
        assert isinstance(flow.base_prior, Gaussian)
        with torch.no_grad():
            _widen(flow.base_prior.head, base.head)
            if isinstance(own, Flow):
                for (_, wide), (_, narrow) in zip(flow.steps(), own.steps()):
                    for part in ("of_half", "middle", "last"):
                        kept = narrow.transform_net.get_submodule(part).state_dict()
                        wide.transform_net.get_submodule(part).load_state_dict(kept)
                    _widen(wide.transform_net.of_context, narrow.transform_net.of_context)
            else:
                _permute(flow.base_prior.head, flow)
        return temporal.to(codes.device)

    def context(self, h: Tensor, before: Tensor | None, known: Tensor | None = None) -> Tensor:
        """h [B, C] and the codes before [B, Z] (None: there are none; ``known`` [B] says where there are, 1 or 0)
        -> what the prior is conditioned on, [B, C + Z + 1]."""
        if before is None:
            before, known = self.mean.expand(len(h), -1), h.new_zeros(len(h))
        known = h.new_ones(len(h)) if known is None else known
        remembered = known[:, None] * (before - self.mean) / self.spread
        return torch.cat([h, remembered, known[:, None]], dim=-1)

    def save(self, path: Path | str) -> None:
        """Write one ``.safetensors`` file, atomically."""
        learned = {name: tensor for name, tensor in self.state_dict().items() if tensor.is_floating_point()}
        body: dict[str, Any] = {"format": FORMAT, "version": 1, "config": to_json(self.config), "avatar": self.avatar}
        body["record"] = self.record
        save_tensors(Path(path), learned, body)

    @staticmethod
    def load(path: Path | str) -> TemporalPrior:
        """Read what ``save`` wrote, in evaluation mode, on the CPU.

        Raises:
            InputError: one line, if the file is damaged or foreign.
        """
        what = f"temporal prior {path}"
        tensors, body = load_tensors(Path(path), what="temporal prior", kind=FORMAT)
        if body.get("version") != 1 or not isinstance(body.get("avatar"), str):
            raise InputError(what, expected="format version 1", got=body.get("version"), mend="update this program")
        config = from_json(PriorConfig, body.get("config"), what=f"{what}, config")
        temporal = TemporalPrior(config, avatar=body["avatar"])
        expected = {k: v for k, v in temporal.state_dict().items() if v.is_floating_point()}
        astray = sorted(set(expected) ^ set(tensors))
        if astray:
            raise InputError(what, expected="the weights that its config names", got=f"{astray[0]!r} astray")
        checked = {k: take(tensors, k, tuple(v.shape), torch.float32, what) for k, v in expected.items()}
        temporal.load_state_dict(checked, strict=False)
        temporal.record = dict(body.get("record") or {})
        return temporal.eval().requires_grad_(False)


@dataclass(frozen=True, eq=False)
class SequenceState:
    """One frame of a sequence, fitted; arrays are copies."""

    frame: int
    z: npt.NDArray[np.float32]  # [Z]
    energy: float  # what was minimised
    data_energy: float
    iterations: int


def fit_sequence(
    avatar: Avatar,
    observations: Iterable[Observation],
    config: FitConfig | None = None,
    *,
    temporal: TemporalPrior | None = None,
) -> Generator[SequenceState, None, None]:
    """Fit the frames of a sequence one after the other, each as soon as it is seen.

    With ``temporal`` each frame's prior comes from the frame before, and with it the code that the frame starts from
    (unless the config starts elsewhere); without, every frame is fitted by itself as ``fit`` does. Observations are
    read one at a time. Close the generator to stop, and start anew after a cut: the first frame has none before it.

    Raises:
        InputError: an observation as ``fit`` does; a temporal prior of another avatar.
    """
    if temporal is not None and temporal.avatar != name_of(avatar):
        got = f"one of {temporal.avatar}"
        raise InputError("temporal prior", expected=f"one of this avatar ({name_of(avatar)})", got=got)
    before: Tensor | None = None
    for frame, observation in enumerate(observations):
        settings = FitConfig.for_observation(observation) if config is None else config
        problem = make_problem(avatar, observation, settings)
        if temporal is not None:
            problem = _under(temporal, problem, before)
        solver = begin(problem, settings)
        iterations = 0
        while not solver.converged and iterations < settings.iterations:
            solver.step()
            iterations += 1
        solver.settle()
        point = solver.point
        before = point.z[None]
        yield SequenceState(frame, host_copy(point.z), point.energy, point.data_energy, iterations)


def name_of(avatar: Avatar) -> str:
    """What tells an avatar from others: its training's configuration and the capture it saw."""
    record = avatar.record
    return f"{record.get('capture', 'unknown')} {record.get('config_hash', 'unknown')}"


@torch.no_grad()
def _under(temporal: TemporalPrior, problem: Problem, before: Tensor | None) -> Problem:
    """The same problem under the temporal prior."""
    if problem.context is None:
        raise InputError("temporal fit", expected="the avatar's own prior", got="a fit under N(0, I)")
    context = temporal.context(problem.context, before)
    return Problem(
        problem.avatar,
        problem.observation,
        temporal.prior,
        context,
        problem.weight,
        problem.space,
        smooth=problem.smooth,
    )


def _widen(wide: Linear, narrow: Linear) -> None:
    """Take over a layer whose inputs come first in ``wide``; the other inputs count 0."""
    weight = narrow.effective_weight()
    wide.weight.zero_()
    wide.weight[:, : weight.shape[1]] = weight
    wide.bias.copy_(narrow.bias)


def _permute(head: Linear, flow: Flow) -> None:
    """Let a Gaussian's outputs follow the permutations between a new flow's couplings, which are all that it does."""
    order = torch.arange(len(head.bias) // 2)
    for permutation, _ in flow.steps():
        order = order[permutation]
    both = torch.cat([order, len(order) + order])
    head.weight.copy_(head.weight[both])
    head.bias.copy_(head.bias[both])
