"""What the posterior's worker does: codes that the present observation leaves possible. Torch lives here."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lipflow.avatar import Avatar
from lipflow.fitting import FitConfig, make_problem
from lipflow.observations import Observation
from lipflow.posterior import Posterior, PosteriorConfig, PosteriorState, sample_posterior
from lipflow_studio.document import AvatarInfo, FloatArray
from lipflow_studio.dragging import following

EQUAL = 1.01  # weights whose largest is at most so many times the smallest are those of chains


@dataclass(frozen=True, eq=False)
class PosteriorRequest:
    """What is sampled."""

    avatar: Avatar
    info: AvatarInfo
    observation: Observation
    config: FitConfig
    z: FloatArray  # [Z] the fitted code
    keypoints: FloatArray  # [L, 2] of its face, in [0, 1]
    samples: int  # codes to take
    shown: int  # of them, as faces
    seed: int


@dataclass(frozen=True, eq=False)
class Sample:
    """One face of the posterior."""

    z: FloatArray  # [Z]
    weight: float  # of all samples' 1


@dataclass(frozen=True, eq=False)
class PosteriorUpdate:
    """How far the sampling is, and what is known by now."""

    stage: str  # "reference", "warm-up" or "sampling"
    done: int  # of the stage
    total: int
    count: int = 0  # codes taken
    effective: float = np.nan  # number of independent codes that they are worth
    samples: tuple[Sample, ...] = ()  # some of them, as faces
    vertex_std: FloatArray | None = None  # [V] mm, root of the summed variance of the three coordinates
    landmark_std: FloatArray | None = None  # [L] mm


def sample(request: PosteriorRequest) -> Generator[PosteriorUpdate, Any, None]:
    """Samples until all codes are taken."""
    observation = following(request.observation, torch.from_numpy(request.keypoints))
    problem = make_problem(request.avatar, observation, request.config)
    config = PosteriorConfig.for_observation(observation)
    config = replace(config, samples=request.samples or config.samples, textures=False)
    z = torch.from_numpy(request.z).to(problem.mu)
    update: PosteriorUpdate | None = None
    for state in sample_posterior(problem, z, config, seed=request.seed):
        update = _update(state, request, update)
        yield update


def _update(state: PosteriorState, request: PosteriorRequest, before: PosteriorUpdate | None) -> PosteriorUpdate:
    update = PosteriorUpdate(state.stage, state.done, state.total)
    if state.posterior is None:
        return update
    found = state.posterior
    last = state.done >= state.total
    known = before.samples if before is not None else ()
    return replace(
        update,
        count=len(found.codes),
        effective=found.ess,
        samples=_some(found, request.shown) if last or len(known) < request.shown else known,
        vertex_std=found.vertex_std,
        landmark_std=found.vertex_std[list(request.info.landmarks.ids)],
    )


def _some(found: Posterior, count: int) -> tuple[Sample, ...]:
    """The heaviest codes; of equal ones some that were taken far apart in time."""
    weights: npt.NDArray[np.float64] = found.weights
    if weights.max() <= EQUAL * weights.min():
        chosen = np.unique(np.linspace(0, len(weights) - 1, count).round().astype(int))
    else:
        chosen = np.argsort(-weights, kind="stable")[:count]
    return tuple(Sample(found.codes[i].copy(), float(weights[i])) for i in chosen)
