"""Different faces that explain an observation: fits from many starts, gathered into modes.

Starts are draws of the prior, so a mode that the prior does not reach is not found. Fits that end with nearly the same
face are one mode: hierarchical clusters of the mean vertex distance in mm, not of codes, whose units mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import AgglomerativeClustering

from lipflow.avatar import Avatar
from lipflow.checks import check_values
from lipflow.fitting import FitConfig, FitState, fit, make_problem
from lipflow.laplace import laplace, log_mass
from lipflow.observations import Observation

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ModesConfig:
    """How modes are sought."""

    starts: int = 12
    """Fits. The first starts where a single fit would, the others at draws of the prior."""
    fit: FitConfig = field(default_factory=FitConfig)
    """Of each; its ``start`` is overruled but for the first."""
    apart_mm: float = 1.0
    """Faces whose mean vertex distance is above this are different modes."""
    weigh: Literal["laplace", "members"] = "laplace"
    """laplace: by the posterior's mass under each peak, which costs a Jacobian a mode. members: by the share of the
    starts that ended there."""

    def __post_init__(self) -> None:
        check_values(
            ("starts", self.starts >= 1, "1 or more", self.starts),
            ("apart_mm", 0 < self.apart_mm < math.inf, "a number above 0", self.apart_mm),
            ("weigh", self.weigh in ("laplace", "members"), "laplace or members", repr(self.weigh)),
        )


@dataclass(frozen=True, eq=False)
class Mode:
    """One face that explains the observation, the best of its members."""

    state: FitState  # as that fit ended
    energy: float  # what the fit minimised
    weight: float  # in [0, 1]; all modes' sum is 1
    members: tuple[int, ...]  # the starts that ended here, the best first


@dataclass(frozen=True, eq=False)
class ModesState:
    """How far the search is."""

    start: int  # the fit that runs, or has just ended
    starts: int
    fit: FitState  # its latest state
    modes: tuple[Mode, ...]  # of the fits that have ended, the best first; weighted by members until all have


def find_modes(
    avatar: Avatar, observation: Observation, config: ModesConfig | None = None, *, seed: int = 0
) -> Generator[ModesState, None, tuple[Mode, ...]]:
    """Fit from many starts; returns the modes, the lowest energy first.

    Yields every state of every fit. The same arguments give the same modes. Close the generator to stop.

    Raises:
        InputError: as ``fit`` does.
    """
    config = ModesConfig(fit=FitConfig.for_observation(observation)) if config is None else config
    drawn = replace(config.fit, start="sample")
    ended: list[FitState] = []
    faces: list[npt.NDArray[np.float32]] = []  # [V, 3] mm
    modes: tuple[Mode, ...] = ()
    for start in range(config.starts):
        for state in fit(avatar, observation, config.fit if start == 0 else drawn, seed=_seed(seed, start)):
            yield ModesState(start, config.starts, state, modes)
        ended.append(state)
        with torch.no_grad():
            z = torch.from_numpy(state.z).to(avatar.vertex_mean.device)
            faces.append(avatar.decode_mesh(z).cpu().numpy())
        modes = _gathered(ended, np.stack(faces), config.apart_mm)
        yield ModesState(start, config.starts, state, modes)
    if config.weigh == "laplace" and config.fit.likelihood and config.fit.prior_weight > 0:
        modes = _weighted(avatar, observation, config.fit, modes, seed)
        yield ModesState(config.starts - 1, config.starts, state, modes)
    return modes


def cluster(faces: npt.NDArray[np.floating], apart_mm: float) -> npt.NDArray[np.int64]:
    """Labels [n] of faces [n, V, 3] mm: average linkage, cut where clusters are ``apart_mm`` apart in the mean."""
    if len(faces) == 1:
        return np.zeros(1, np.int64)
    distances = np.stack([np.linalg.norm(faces - face, axis=-1).mean(-1) for face in faces])  # [n, n]
    found = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=apart_mm
    ).fit(distances)
    return np.asarray(found.labels_, np.int64)


def _gathered(ended: list[FitState], faces: npt.NDArray[np.float32], apart_mm: float) -> tuple[Mode, ...]:
    labels = cluster(faces, apart_mm)
    modes = []
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label).tolist(), key=lambda k: ended[k].energy)
        best = ended[members[0]]
        modes.append(Mode(best, best.energy, len(members) / len(ended), tuple(members)))
    return tuple(sorted(modes, key=lambda mode: mode.energy))


def _weighted(
    avatar: Avatar, observation: Observation, config: FitConfig, modes: tuple[Mode, ...], seed: int
) -> tuple[Mode, ...]:
    """By the posterior's mass under each peak, as Laplace's Gaussian has it."""
    problem = make_problem(avatar, observation, config)
    masses = []
    for mode in modes:
        steps = laplace(problem, torch.from_numpy(mode.state.z).to(problem.mu), seed=seed)
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                masses.append(log_mass(problem, stop.value))
                break
    shares = np.exp(np.array(masses) - max(masses))
    return tuple(replace(mode, weight=float(share)) for mode, share in zip(modes, shares / shares.sum()))


def _seed(seed: int, start: int) -> int:
    """Of a start: no two share one."""
    return int(np.random.SeedSequence([seed, start]).generate_state(1)[0])
