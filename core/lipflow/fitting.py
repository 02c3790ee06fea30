"""Inference-time fitting: find the code that explains an observation under the avatar's prior (Eq. 10–12).

The unknown z minimises ``observation.energy(z) − λ · log p(z)``. The decoder is frozen. ``fit`` is a generator of
snapshots; it may be sent another observation or another configuration while it runs, and goes on from its z.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.checks import InputError, check_shape
from lipflow.observations import LeastSquares, Observation, check_seen
from lipflow.priors.base import LatentPrior, PriorConfig
from lipflow.priors.standard_normal import StandardNormal
from lipflow.solvers import SOLVERS, Problem, Solver

SMALL = 1024  # numbers; what an observation shows beyond that is a picture
RATE_WINDOW = 10  # iterations that the reported rate is taken over


@dataclass(frozen=True)
class FitConfig:
    """How a code is fitted."""

    optimiser: Literal["lm", "lbfgs", "adam"] = "lbfgs"
    """lm: Levenberg–Marquardt, for keypoints. lbfgs: for every observation; each iteration is one
    evaluation. adam: for every observation; under a learned prior it needs about three times as many."""
    iterations: int = 150
    """At most so many, counted anew when another observation or configuration is sent."""
    learning_rate: float = 0.1
    """Adam's first step, in units of the unknown; it falls to a twentieth by the last iteration (a cosine)."""
    prior_weight: float = 1.0
    """λ, the weight of −log p; 1 is the posterior under the observation's stated noise."""
    likelihood: bool = True
    """Whether −log p counts at all (Table 5's ablation); off, only the start knows of the prior."""
    space: Literal["z", "u"] = "z"
    """Where the most probable code is sought. z: density of the decoder's code, with log|det ∂F/∂z|. u: density of
    the whitened code in the prior's space, without. They differ for a flow only; Adam also steps in that space."""
    start: Literal["prior", "encoder", "zero", "sample"] = "prior"
    """prior: what the prior thinks most likely in its own space, F⁻¹(μ; h). encoder: what the avatar's own prior does,
    where N(0, I) is the density. sample: a draw, by the seed."""
    prior: Literal["avatar", "standard-normal"] = "avatar"
    """standard-normal: N(0, I) in place of the avatar's own, for fits whose observation drives no prior."""
    edges: Literal["smooth", "hard"] = "smooth"
    """Of the renders that images are compared with. smooth: where one surface ends before another, pixels are shared
    between the two, and the energy falls or rises as the edge moves. hard: each pixel shows one of them, the gradient
    knows nothing of edges, and a fit soon wanders. Keypoints have none."""
    tolerance: float = 1e-3
    """Converged when an iteration promises to lower the energy by less than this share of it (L-BFGS: when twenty
    did not; Adam: when ten did not, with ever smaller steps). With 0, fits to images go on to their last iteration."""
    pictures_every: int = 0
    """Put the renders into every n-th state's extras; 0: into none but the first and the last."""

    def __post_init__(self) -> None:
        positive = {"iterations": self.iterations, "learning rate": self.learning_rate}
        at_least_zero = {"prior weight": self.prior_weight, "tolerance": self.tolerance}
        for name, value in positive.items():
            if not 0 < value < float("inf"):
                raise InputError(name, expected="a positive number", got=value)
        for name, value in (at_least_zero | {"pictures every": self.pictures_every}).items():
            if not 0 <= value < float("inf"):
                raise InputError(name, expected="a number of at least 0", got=value)
        choices = {
            "optimiser": (self.optimiser, ("lm", "lbfgs", "adam")),
            "space": (self.space, ("z", "u")),
            "start": (self.start, ("prior", "encoder", "zero", "sample")),
            "prior": (self.prior, ("avatar", "standard-normal")),
            "edges": (self.edges, ("smooth", "hard")),
        }
        for name, (choice, known) in choices.items():
            if choice not in known:
                raise InputError(name, expected=" or ".join(known), got=repr(choice))

    @staticmethod
    def for_observation(observation: Observation) -> FitConfig:
        """What suits this kind of observation."""
        if isinstance(observation, LeastSquares):
            return FitConfig(optimiser="lm", iterations=20)
        return FitConfig()


@dataclass(frozen=True, eq=False)
class FitState:
    """A snapshot of a fit: every array is a copy."""

    iteration: int  # since the fit began; 0 is the start itself
    z: npt.NDArray[np.float32]  # [Z] the code that the decoder takes
    u: npt.NDArray[np.float32]  # [Z] the same code in the prior's space
    energy: float  # what is minimised: data_energy + λ · (−log p in the chosen space)
    data_energy: float  # ½ Σ (residual / σ)²
    log_likelihood: float  # log p(z), the density of the decoder's code, in either space
    converged: bool
    seconds: float  # spent computing
    iterations_per_s: float  # over the last few, of time spent computing; 0 at the start
    extras: dict[str, npt.NDArray[np.float32]]  # what the observation shows: "projected", "render", "error", "gain", …


def fit(
    avatar: Avatar,
    observation: Observation,
    config: FitConfig | None = None,
    *,
    z0: npt.NDArray[np.float32] | Tensor | None = None,
    seed: int = 0,
) -> Generator[FitState, Observation | FitConfig | None, FitState]:
    """Fit a code to an observation; returns the last state.

    The first state is the start: ``z0`` [Z] if given, else the config's. Sending an observation or a config takes
    effect before the next iteration; z survives, and of the optimiser's memory what still holds; the count towards
    ``iterations`` begins anew. The fit ends after ``iterations`` or on convergence, with the best code it saw, unless
    something is sent in answer to that state. The same arguments give the same states. ``avatar`` comes from
    ``for_inference()``; nothing here changes it.

    Raises:
        InputError: an observation that does not suit the avatar or the optimiser, a z0 of another size or with
            numbers that are not finite, a start whose energy is not finite, images in which nothing of the start's
            face is seen.
    """
    config = FitConfig.for_observation(observation) if config is None else config
    began = time.perf_counter()
    problem = make_problem(avatar, observation, config)
    solver = begin(problem, config, z0, seed)
    seconds, recent = time.perf_counter() - began, deque[float](maxlen=RATE_WINDOW)
    iteration, budget = 0, config.iterations
    while True:
        last = solver.converged or budget == 0
        if last:
            solver.settle()
        pictures = iteration == 0 or last or (config.pictures_every > 0 and iteration % config.pictures_every == 0)
        rate = len(recent) / sum(recent) if recent else 0.0
        state = _snapshot(solver, iteration, seconds, rate, pictures)
        sent = yield state
        if sent is None and last:
            return state
        began = time.perf_counter()
        if sent is not None:
            if isinstance(sent, FitConfig):
                config = sent
            else:
                observation = sent
            solver = _replaced(solver, make_problem(avatar, observation, config), config)
            _check_start(solver)
            budget = config.iterations
        solver.step()
        iteration, budget = iteration + 1, budget - 1
        recent.append(time.perf_counter() - began)
        seconds += recent[-1]


def begin(
    problem: Problem, config: FitConfig, z0: npt.NDArray[np.float32] | Tensor | None = None, seed: int = 0
) -> Solver:
    """The config's optimiser at its start: ``z0`` [Z] if given, else the config's.

    Raises:
        InputError: a start that is none, see ``fit``.
    """
    solver: Solver = SOLVERS[config.optimiser](problem, _start(problem, config, z0, seed), config)
    _check_start(solver)
    return solver


def make_problem(avatar: Avatar, observation: Observation, config: FitConfig) -> Problem:
    """What is to be minimised.

    Raises:
        InputError: an observation that does not suit the avatar or the optimiser.
    """
    observation.check(avatar)
    if config.optimiser == "lm" and not isinstance(observation, LeastSquares):
        got = type(observation).__name__
        raise InputError("Levenberg–Marquardt", expected="keypoints", got=got, mend="choose L-BFGS or Adam")
    prior: LatentPrior = avatar.prior
    context: Tensor | None = None
    if config.prior == "standard-normal":
        prior = StandardNormal(PriorConfig(latent=avatar.config.latent))
    else:
        context = _context(avatar, observation, mend="choose the prior standard-normal")
    weight = config.prior_weight if config.likelihood else 0.0
    return Problem(avatar, observation, prior, context, weight, config.space, smooth=config.edges == "smooth")


def _context(avatar: Avatar, observation: Observation, *, mend: str) -> Tensor | None:
    """What conditions the avatar's own prior, [1, C]; None for a prior that nothing conditions. ``mend`` says how to
    do without it."""
    if not avatar.prior.conditional or avatar.driving is None:
        return None
    driving = observation.driving(avatar.driving)
    if driving is None:
        names = {"hmc": "headset images", "kpt": "keypoints"}
        expected = f"{names[avatar.driving]}, which drive this avatar's prior"
        mend = f"give them, take another avatar, or {mend}"
        raise InputError("observation", expected=expected, got=type(observation).__name__, mend=mend)
    with torch.no_grad():
        return avatar.context(driving)


def _start(problem: Problem, config: FitConfig, z0: npt.NDArray[np.float32] | Tensor | None, seed: int) -> Tensor:
    """The first code, [Z]."""
    device, size = problem.mu.device, len(problem.mu)
    if z0 is not None:
        z = torch.as_tensor(z0).detach().to(device, problem.mu.dtype).clone()
        check_shape({}, z0=(z, f"{size}"))
        if not torch.isfinite(z).all():
            raise InputError("z0", expected="finite numbers", got="NaN or infinite ones")
        return z
    with torch.no_grad():
        if config.start == "zero":
            return problem.mu.new_zeros(size)
        if config.start == "sample":
            generator = torch.Generator(device="cpu").manual_seed(seed)
            return problem.prior.sample(problem.context, 1, generator=generator)[0, 0]
        if config.start == "encoder":
            own = problem.avatar.prior
            context = _context(problem.avatar, problem.observation, mend="choose another start")
            return own.start(context)[0].to(device, problem.mu.dtype)
        return problem.prior.start(problem.context)[0]


def _check_start(solver: Solver) -> None:
    if not np.isfinite(solver.point.energy):
        raise InputError("fit", expected="a finite energy at the start", got=solver.point.energy)
    check_seen(solver.point.shown)


def _replaced(solver: Solver, problem: Problem, config: FitConfig) -> Solver:
    """The same solver on another problem; another one at the same code if the optimiser or its unknown changes."""
    wanted = SOLVERS[config.optimiser]
    solver.settle()  # a step that was taken as it came may have led up
    if isinstance(solver, wanted) and solver.problem.space == problem.space:
        solver.replace(problem, config)
        return solver
    return wanted(problem, solver.point.z, config)


def _snapshot(solver: Solver, iteration: int, seconds: float, rate: float, pictures: bool) -> FitState:
    point, problem = solver.point, solver.problem
    small = {name: tensor for name, tensor in point.shown.items() if pictures or tensor.numel() <= SMALL}
    with torch.no_grad():
        u = problem.mu + torch.exp(problem.log_sigma) * point.w
    return FitState(
        iteration=iteration,
        z=_copy(point.z),
        u=_copy(u),
        energy=point.energy,
        data_energy=point.data_energy,
        log_likelihood=point.log_likelihood,
        converged=solver.converged,
        seconds=seconds,
        iterations_per_s=rate,
        extras={name: _copy(tensor) for name, tensor in small.items()},
    )


def _copy(tensor: Tensor) -> npt.NDArray[np.float32]:
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float32, copy=True)
