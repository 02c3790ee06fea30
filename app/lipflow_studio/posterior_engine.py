"""What the posterior's worker does: codes that the present observation leaves possible. Torch lives here."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lipflow.avatar import Avatar
from lipflow.fitting import FitConfig, make_problem
from lipflow.observations import Observation
from lipflow.posterior import Posterior, PosteriorConfig, PosteriorState, evaluations, sample_posterior
from lipflow_studio.document import AvatarInfo, FloatArray
from lipflow_studio.dragging import following

TOLD_AFTER = 0.03  # of all: before that, nobody knows how long it takes


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
    away: float  # mm of its vertices from the mean of all faces, root mean square


@dataclass(frozen=True, eq=False)
class PosteriorUpdate:
    """How far the sampling is, and what is known by now."""

    stage: str  # "reference", "warm-up" or "sampling"
    done: int  # of the stage
    total: int
    share: float = 0.0  # of all stages that is done, 0–1
    left_s: float | None = None  # seconds to go, once that can be told
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
    effort, began = evaluations(problem, config), time.monotonic()
    for state in sample_posterior(problem, z, config, seed=request.seed):
        share = _share(state, effort)
        left = (time.monotonic() - began) * (1 / share - 1) if share >= TOLD_AFTER else None
        update = replace(_update(state, request, update), share=share, left_s=left)
        yield update


def _share(state: PosteriorState, effort: Mapping[str, int]) -> float:
    """How much of all stages is done, 0–1."""
    stages = list(effort)
    before = sum(effort[stage] for stage in stages[: stages.index(state.stage)])
    return (before + effort[state.stage] * state.done / state.total) / sum(effort.values())


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
        samples=_some(found, request) if last or len(known) < request.shown else known,
        vertex_std=found.vertex_std,
        landmark_std=found.vertex_std[list(request.info.landmarks.ids)],
    )


@torch.inference_mode()
def _some(found: Posterior, request: PosteriorRequest) -> tuple[Sample, ...]:
    """Codes that were taken far apart in time, the most usual faces first."""
    chosen = np.unique(np.linspace(0, len(found.codes) - 1, request.shown).round().astype(int))
    mean = torch.from_numpy(found.vertex_mean)
    samples = []
    for i in chosen:
        code = torch.from_numpy(found.codes[i]).to(request.avatar.vertex_mean.device)
        away = request.avatar.decode_mesh(code[None])[0].cpu() - mean
        samples.append(Sample(found.codes[i].copy(), float(away.square().sum(-1).mean().sqrt())))
    return tuple(sorted(samples, key=lambda sample: sample.away))
