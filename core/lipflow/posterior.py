"""Which faces an observation leaves possible: codes of the posterior p(z | observation), and how far they differ.

In the prior's whitened space the posterior is ``exp(−½ |w|² − energy(z(w)) / λ)`` (see ``lipflow.laplace``). Two
choices make a sampler of that.

The reference, a Gaussian N(m, C) that proposals come from: the prior itself, or Laplace's at a fitted code.

The sampler. ``weights``: independent draws of the reference, weighted by posterior / reference. Under the prior these
are codes from P through the flow, weighted by the observation's energy. ``chain``: Markov chains with the proposal
m + √(1 − β²) (w − m) + β C^½ ξ, which the reference leaves as it is, accepted by the change of posterior / reference
(preconditioned Crank–Nicolson: Cotter et al. 2013; with Laplace's reference: Rudolf and Sprungk 2018). β comes from the
warm-up.

Why chains with Laplace's reference are the default, measured on the embedded avatar's nine test frames (136 keypoints,
σ = 0.5 pixels, 512 draws): weighting draws of the prior leaves 1 to 4 effective ones, as 256 dimensions must; weighting
draws of Laplace's Gaussian 26 to 150; its chains accept 25 to 50 % of independent proposals. Renders jump where edges
cross pixels, so Laplace's Gaussian suits headset images less: there weights collapse too, and chains mix slowly. Trust
``ess``, which says so.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.checks import InputError, check_shape, check_values
from lipflow.device import host_copy
from lipflow.identifiability import FRONT
from lipflow.laplace import LaplaceState, Reference, energies, laplace
from lipflow.observations import LeastSquares, Observation
from lipflow.solvers import Problem

Array = npt.NDArray[np.float32]
GAIN = 0.3  # how fast the warm-up changes log β


@dataclass(frozen=True)
class PosteriorConfig:
    """How a posterior is sampled."""

    samples: int = 256
    """Codes to return: a multiple of the chains' number, or it is rounded up."""
    reference: Literal["laplace", "prior"] = "laplace"
    """The Gaussian that proposals come from."""
    sampler: Literal["chain", "weights"] = "chain"
    """Chains of equal weights, or independent draws with weights."""
    chains: int = 16
    """Chains that run side by side."""
    warmup: int = 60
    """Steps of each chain before the first code is taken; β is found in them."""
    thin: int = 10
    """Steps of each chain between two codes."""
    acceptance: float = 0.3
    """Share of accepted proposals that the warm-up aims at."""
    textures: bool = True
    """Whether codes' textures are decoded, too: most of the time of a keypoint posterior."""
    view: tuple[float, float, float] = FRONT
    """The view direction whose textures are compared; unit vector in the head frame."""
    batch: int = 16
    """Codes that are decoded at once."""
    difference: float = 0.5
    """Of images: half the secants that Laplace's Gaussian is made of, in the prior's standard deviations."""

    def __post_init__(self) -> None:
        counts = ((name, getattr(self, name)) for name in ("samples", "chains", "thin", "batch"))
        check_values(
            *((name, count >= 1, "1 or more", count) for name, count in counts),
            ("warmup", self.warmup >= 0, "0 or more", self.warmup),
            ("acceptance", 0 < self.acceptance < 1, "a number between 0 and 1", self.acceptance),
            ("difference", self.difference > 0, "a number above 0", self.difference),
            ("reference", self.reference in ("laplace", "prior"), "laplace or prior", repr(self.reference)),
            ("sampler", self.sampler in ("chain", "weights"), "chain or weights", repr(self.sampler)),
        )

    @staticmethod
    def for_observation(observation: Observation) -> PosteriorConfig:
        """What suits this kind of observation: images take fewer codes and longer ways between them."""
        if isinstance(observation, LeastSquares):
            return PosteriorConfig()
        return PosteriorConfig(samples=64, chains=8, warmup=200, thin=20)


@dataclass(frozen=True, eq=False)
class Posterior:
    """Weighted codes and how far their faces differ; every array is a copy."""

    codes: Array  # [n, Z] for the decoder
    weights: npt.NDArray[np.float64]  # [n] sum 1
    energies: npt.NDArray[np.float64]  # [n] the observation's energy of each code
    ess: float  # effective number of independent codes; of chains the least over what is watched, NaN before 4 draws
    acceptance: float  # share of proposals accepted since the warm-up; 1 for independent draws
    step: float  # β; 1 for independent draws
    vertex_mean: Array  # [V, 3] mm
    vertex_std: Array  # [V] mm, root of the summed variance of the three coordinates
    texture_std: Array | None  # [T, T] linear RGB, root mean variance of the channels; None if not asked for


@dataclass(frozen=True, eq=False)
class PosteriorState:
    """How far the sampling is, and what is known by now."""

    stage: Literal["reference", "warm-up", "sampling"]
    done: int  # of the stage
    total: int
    posterior: Posterior | None  # from the first codes on


def sample_posterior(
    problem: Problem, z: Tensor, config: PosteriorConfig | None = None, *, seed: int = 0
) -> Generator[PosteriorState, None, Posterior]:
    """Sample the posterior of ``problem`` (from ``fitting.make_problem``), starting at its fitted code ``z`` [Z].

    Memory does not grow with the number of samples but for the codes themselves. The same arguments give the same
    samples. Close the generator to stop; what it showed last stands.

    Raises:
        InputError: a code of another size, not finite or of infinite energy; a fit in which the prior does not count.
    """
    config = PosteriorConfig() if config is None else config
    check_shape({}, z=(z, f"{len(problem.mu)}"))
    if not problem.weight > 0:
        raise InputError("posterior", expected="a prior that counts (λ above 0)", got=f"λ = {problem.weight:g}")
    if not torch.isfinite(z).all() or not math.isfinite(float(problem.observation.energy(problem.avatar, z[None]))):
        raise InputError("z", expected="a code of finite energy", got="another")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        centre = problem.whiten(z[None])[0][0].double()
    reference = Reference.of_prior(centre)
    if config.reference == "laplace":
        reference = yield from _told(laplace(problem, z, difference=config.difference, seed=seed))
    sampling = _Sampling(problem, reference, config, generator)
    if config.sampler == "weights":
        yield from sampling.independent()
    else:
        yield from sampling.chains(centre)
    return sampling.posterior()


def evaluations(problem: Problem, config: PosteriorConfig) -> dict[str, int]:
    """How often each stage, in their order, evaluates the observation, about: their shares of the time."""
    if config.sampler == "weights":
        chained = {"warm-up": 0, "sampling": config.samples}
    else:
        draws = -(-config.samples // config.chains)
        chained = {"warm-up": config.warmup * config.chains, "sampling": draws * config.thin * config.chains}
    secants = config.reference == "laplace" and not isinstance(problem.observation, LeastSquares)
    return {"reference": 2 * len(problem.mu) if secants else 0, **chained}


def _told(steps: Generator[LaplaceState, None, Reference]) -> Generator[PosteriorState, None, Reference]:
    while True:
        try:
            state = next(steps)
        except StopIteration as stop:
            return stop.value
        yield PosteriorState("reference", state.done, state.total, None)


class _Sampling:
    """Codes as they are taken, with their running statistics."""

    def __init__(
        self, problem: Problem, reference: Reference, config: PosteriorConfig, generator: torch.Generator
    ) -> None:
        self.problem, self.reference, self.config, self._generator = problem, reference, config, generator
        self._codes: list[Tensor] = []  # [n, Z] each
        self._energies: list[Tensor] = []
        self._log_weights: list[Tensor] = []
        self._traces: list[Tensor] = []  # [chains, k] each: what mixing is judged by
        self._vertices, self._texels = _Moments(), _Moments()
        self._accepted, self._steps, self._beta = 0.0, 0, 1.0

    def independent(self) -> Iterator[PosteriorState]:
        """Draws of the reference with weights."""
        config, done = self.config, 0
        while done < config.samples:
            count = min(config.batch, config.samples - done)
            noise = self._noise(count)
            w = self.reference.mean + self.reference.spread(noise)
            z, energy = energies(self.problem, w, config.batch)
            self._take(z, energy, -self._excess(w, energy))
            done += count
            yield PosteriorState("sampling", done, config.samples, self.posterior())

    def chains(self, start: Tensor) -> Iterator[PosteriorState]:
        """Chains from one code, whitened [Z]; the warm-up takes them apart."""
        config = self.config
        w = start.expand(config.chains, -1)
        z, energy = energies(self.problem, w, config.batch)
        excess = self._excess(w, energy)
        draws = -(-config.samples // config.chains)
        self._beta = 0.3
        for step in range(1, config.warmup + draws * config.thin + 1):
            noise = self.reference.spread(self._noise(config.chains))
            kept = math.sqrt(1 - self._beta**2) * (w - self.reference.mean)
            proposed = self.reference.mean + kept + self._beta * noise
            proposed_z, proposed_energy = energies(self.problem, proposed, config.batch)
            proposed_excess = self._excess(proposed, proposed_energy)
            chance = torch.rand(config.chains, generator=self._generator, dtype=torch.float64).to(excess)
            taken = chance.log() < excess - proposed_excess
            w, z = torch.where(taken[:, None], proposed, w), torch.where(taken[:, None], proposed_z, z)
            energy = torch.where(taken, proposed_energy, energy)
            excess = torch.where(taken, proposed_excess, excess)
            share = float(taken.double().mean())
            if step <= config.warmup:
                self._beta = min(1.0, self._beta * math.exp(GAIN * (share - config.acceptance)))
                yield PosteriorState("warm-up", step, config.warmup, None)
                continue
            self._accepted, self._steps = self._accepted + share, self._steps + 1
            if (step - config.warmup) % config.thin == 0:
                along = (w - self.reference.mean) @ self.reference.axes
                self._traces.append(torch.cat([energy[:, None], w.square().sum(-1, keepdim=True), along], 1).cpu())
                self._take(z, energy, torch.zeros_like(energy))
                done = len(self._traces) * config.chains
                yield PosteriorState("sampling", done, draws * config.chains, self.posterior())

    def posterior(self) -> Posterior:
        """What the codes taken so far say."""
        log_weights = torch.cat(self._log_weights)
        weights = torch.softmax(log_weights, 0)
        chained = self.config.sampler == "chain"
        ess = effective_samples(torch.stack(self._traces, 1)) if chained else 1 / float(weights.square().sum())
        texture = self._texels.variance() if self.config.textures else None
        return Posterior(
            codes=host_copy(torch.cat(self._codes)),
            weights=weights.cpu().numpy(),
            energies=torch.cat(self._energies).cpu().numpy(),
            ess=ess,
            acceptance=self._accepted / self._steps if chained else 1.0,
            step=self._beta,
            vertex_mean=host_copy(self._vertices.mean),
            vertex_std=host_copy(self._vertices.variance().sum(-1).sqrt()),
            texture_std=None if texture is None else host_copy(texture.mean(0).sqrt()),
        )

    def _noise(self, count: int) -> Tensor:
        """Drawn on the CPU, so that every device sees the same."""
        noise = torch.randn(count, len(self.reference.mean), generator=self._generator, dtype=torch.float64)
        return noise.to(self.reference.mean)

    def _excess(self, w: Tensor, energy: Tensor) -> Tensor:
        """−log posterior / reference of whitened codes [n, Z] with their energies [n], but for a constant."""
        return energy / self.problem.weight + 0.5 * w.square().sum(-1) - self.reference.half_square(w)

    @torch.no_grad()
    def _take(self, z: Tensor, energy: Tensor, log_weights: Tensor) -> None:
        self._codes.append(z)
        self._energies.append(energy)
        self._log_weights.append(log_weights)
        view = z.new_tensor(self.config.view).expand(len(z), 3)
        for part in range(0, len(z), self.config.batch):
            some = slice(part, part + self.config.batch)
            self._vertices.add(self.problem.avatar.decode_mesh(z[some]), log_weights[some])
            if self.config.textures:
                self._texels.add(self.problem.avatar.decode_texture(z[some], view[some]), log_weights[some])


class _Moments:
    """Mean and variance of weighted tensors that come a few at a time (Chan, Golub and LeVeque 1983)."""

    def __init__(self) -> None:
        self.mean = torch.zeros(())
        self._squares = torch.zeros(())
        self._largest = -math.inf  # log weight that the sums are relative to
        self._total, self._total_squares = 0.0, 0.0  # of the weights, and of their squares

    def add(self, values: Tensor, log_weights: Tensor) -> None:
        """[n, ...] with weights exp(log_weights) [n]."""
        largest = max(self._largest, float(log_weights.max()))
        if largest == -math.inf:
            return  # draws of infinite energy weigh nothing
        faded = math.exp(self._largest - largest)
        weights = torch.exp(log_weights - largest)
        total, shape = float(weights.sum()), (-1,) + (1,) * (values.dim() - 1)
        before = self._total * faded
        both = before + total
        if total > 0:
            w = weights.view(shape).to(values)
            mean = (w * values).sum(0) / total
            squares = (w * (values - mean).square()).sum(0)
            apart = mean - self.mean.to(mean)
            self._squares = self._squares.to(mean) * faded + squares + apart.square() * (before * total / both)
            self.mean = self.mean.to(mean) + apart * (total / both)
        self._largest, self._total = largest, both
        self._total_squares = self._total_squares * faded**2 + float(weights.square().sum())

    def variance(self) -> Tensor:
        """Without bias for independent draws; 0 where one draw has all the weight."""
        free = self._total - self._total_squares / self._total
        return self._squares / free if free > 1e-9 * self._total else torch.zeros_like(self._squares)


def effective_samples(traces: Tensor) -> float:
    """Effective number of independent draws in chains [C, n, k], the least over the k quantities.

    By autocorrelation and spread between the chains, each cut in halves (Gelman et al., Bayesian Data Analysis, 3rd
    edition, Sec. 11.5; sums by Geyer's monotone sequence). NaN for fewer than 4 draws a chain.
    """
    half = traces.shape[1] // 2
    if half < 2:
        return math.nan
    halves = torch.cat([traces[:, :half], traces[:, -half:]]).double()  # [2C, half, k]
    chains = len(halves)
    centred = halves - halves.mean(1, keepdim=True)
    spectrum = torch.fft.rfft(centred, n=2 * half, dim=1)
    autocovariance = torch.fft.irfft(spectrum.abs().square(), n=2 * half, dim=1)[:, :half] / half  # [2C, half, k]
    within = autocovariance[:, 0].mean(0) * half / (half - 1)
    between = halves.mean(1).var(0) if chains > 1 else torch.zeros_like(within)
    total = (within * (half - 1) / half + between).clamp_min(torch.finfo(torch.float64).tiny)
    correlation = 1 - (within - autocovariance.mean(0)) / total  # [half, k]
    correlation[0] = 1
    pairs = correlation[: half // 2 * 2].unflatten(0, (-1, 2)).sum(1)  # [half / 2, k], positive for a Markov chain
    pairs = torch.cummin(pairs, 0)[0]
    pairs = pairs * torch.cumprod(pairs > 0, 0)
    time = (2 * pairs.sum(0) - 1).clamp_min(1 / math.log10(chains * half + 10))
    return float((chains * half / time).min())
