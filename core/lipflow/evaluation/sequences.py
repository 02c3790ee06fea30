"""Sequences from noisy keypoints: what a temporal prior gains over fits frame by frame, in error and in jitter.

Every way sees the same noise. Error is the mean vertex distance. Jitter is the mean length of the vertices' second
difference over the frames (mm): of the fit, beside the truth's own, and of the fit minus the truth, which a still face
or a lagging one cannot lower for free. λ and the space of each way's fits are those with the least error on validation
sequences: one search for all.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.capture.packed import PackedCapture
from lipflow.checks import InputError, check_seed
from lipflow.evaluation.bootstrap import Sample, interval, paired
from lipflow.fitting import FitConfig
from lipflow.observations import KeypointObservation
from lipflow.temporal import TemporalPrior, fit_sequence
from lipflow.temporal_training import ordered

Floats = npt.NDArray[np.float64]
SPACES: tuple[Literal["z", "u"], ...] = ("z", "u")
METRICS = ("error_mm", "jitter_mm", "error_jitter_mm")


@dataclass(frozen=True)
class Way:
    """One way to fit a sequence."""

    name: str
    title: str
    prior: str | None = None  # which temporal prior; None: the avatar's own, frame by frame
    smoothing: float = 0.0  # share of the smoothed code before in each code, afterwards


WAYS = (
    Way("frame", "Frame by frame"),
    Way("smoothed-20", "Frame by frame, codes smoothed (0.2)", smoothing=0.2),
    Way("smoothed-40", "Frame by frame, codes smoothed (0.4)", smoothing=0.4),
    Way("control", "Prior of h_t alone, trained with the noise", "control"),
    Way("temporal", "Temporal prior", "temporal"),
)
REFERENCE, CONTROL = "frame", "control"  # the ways that others are paired with


@dataclass(frozen=True)
class SequenceConfig:
    """What is compared."""

    noise: tuple[float, ...] = (1.0, 2.0)  # standard deviations of keypoint noise, pixels
    prior_weights: tuple[float, ...] = (0.1, 0.3, 1.0)  # λ to choose from, in the spaces z and u
    iterations: int = 20  # of Levenberg–Marquardt, at most
    seed: int = 0  # of the noise

    def __post_init__(self) -> None:
        for name in ("noise", "prior_weights"):
            given = getattr(self, name)
            if not given or not all(0 < value < math.inf for value in given):
                raise InputError(name, expected="some numbers above 0", got=given or "none")
        check_seed(self.seed)

    def candidates(self) -> tuple[FitConfig, ...]:
        """The fits that every way's is chosen from."""
        return tuple(
            FitConfig(optimiser="lm", iterations=self.iterations, prior_weight=weight, space=space)
            for space in SPACES
            for weight in self.prior_weights
        )


@dataclass(frozen=True, eq=False)
class Figures:
    """One sequence, fitted one way."""

    segment: str
    error_mm: Floats  # [T]
    jitter_mm: Floats  # [T − 2] of the fit
    error_jitter_mm: Floats  # [T − 2] of the fit minus the truth
    true_jitter_mm: Floats  # [T − 2]


@dataclass(frozen=True)
class CompareState:
    """How far a comparison is."""

    done: int  # sequences fitted
    total: int


def compare_ways(
    avatar: Avatar, packed: PackedCapture, priors: Mapping[str, TemporalPrior], config: SequenceConfig | None = None
) -> Generator[CompareState, None, list[dict[str, Any]]]:
    """Fit all test sequences in all ways whose prior is given; returns rows of plain values for a JSON file.

    Raises:
        InputError: an avatar that keypoints do not drive, or a capture without sequences to judge on.
    """
    config = SequenceConfig() if config is None else config
    if avatar.driving != "kpt":
        raise InputError("sequences", expected="an avatar that keypoints drive", got=f"one driven by {avatar.driving}")
    held_out, test = (sequences_of(packed, split) for split in ("val", "test"))
    if not held_out or not test:
        raise InputError("capture", expected="sequences of 3 frames or more to validate and test on", got="none")
    ways = [way for way in WAYS if way.prior is None or way.prior in priors]
    fitted = sorted({way.prior for way in ways}, key=str)  # smoothing needs no fits of its own
    candidates = config.candidates()
    total = len(config.noise) * len(fitted) * (len(candidates) * len(held_out) + len(test))
    rows, done = [], 0
    for noise in config.noise:
        figures: dict[str, list[Figures]] = {}
        settings: dict[str, FitConfig] = {}
        for prior in fitted:
            own = [way for way in ways if way.prior == prior]
            judge = _Judge(avatar, packed, None if prior is None else priors[prior], noise, config.seed)
            errors: dict[str, list[float]] = {way.name: [] for way in own}
            for candidate in candidates:
                found: list[dict[str, Figures]] = []
                for segment, frames in held_out.items():
                    found.append(judge.figures(segment, frames, own, candidate))
                    done += 1
                    yield CompareState(done, total)
                for name, of_way in errors.items():
                    of_way.append(float(np.mean(np.concatenate([part[name].error_mm for part in found]))))
            settings |= {name: candidates[int(np.argmin(of_way))] for name, of_way in errors.items()}
            for segment, frames in test.items():
                for way in own:  # the last fit of a segment is kept: ways that chose alike share it
                    part = judge.figures(segment, frames, [way], settings[way.name])
                    figures.setdefault(way.name, []).append(part[way.name])
                done += 1
                yield CompareState(done, total)
        rows += [_row(way, noise, settings[way.name], figures) for way in ways]
    return rows


def sequences_of(packed: PackedCapture, split: str) -> dict[str, npt.NDArray[np.int64]]:
    """The segments of a split that have three frames or more, with their frames in order."""
    found: dict[str, list[int]] = {}
    for k in ordered(packed, packed.split(split)):
        found.setdefault(packed.frames[int(k)].segment, []).append(int(k))
    return {segment: np.array(frames) for segment, frames in found.items() if len(frames) >= 3}


def second_difference(vertices: Tensor) -> Tensor:
    """Mean length over the vertices of v_{t+1} − 2 v_t + v_{t−1}: [T, V, 3] mm -> [T − 2] mm."""
    return (vertices[2:] - 2 * vertices[1:-1] + vertices[:-2]).norm(dim=-1).mean(-1)


def smoothed(codes: Tensor, share: float) -> Tensor:
    """Codes [T, Z] with ``share`` of the smoothed one before in each: causal, exponential."""
    out = codes.clone()
    for t in range(1, len(out)):
        out[t] = (1 - share) * out[t] + share * out[t - 1]
    return out


def noisy_observations(avatar: Avatar, vertices: Tensor, noise: float, seed: int) -> Iterator[KeypointObservation]:
    """Keypoints of meshes [T, V, 3] with normal noise of a standard deviation in pixels, which their energy knows."""
    camera = avatar.keypoint_camera
    if camera is None:
        raise InputError("sequences", expected="an avatar with a keypoint camera", got="one without")
    height, width = camera.size
    generator = torch.Generator().manual_seed(seed)
    for mesh in vertices:
        clean = camera.project_normalised(mesh[avatar.landmark_ids])
        added = noise * torch.randn(clean.shape, generator=generator) / torch.tensor([width, height])
        yield KeypointObservation((clean + added.to(clean)).clamp(0, 1), camera, noise=noise)


class _Judge:
    """Fits sequences under one prior and one noise."""

    def __init__(
        self, avatar: Avatar, packed: PackedCapture, temporal: TemporalPrior | None, noise: float, seed: int
    ) -> None:
        self.avatar, self.packed, self.temporal, self.noise, self.seed = avatar, packed, temporal, noise, seed
        self._latest: tuple[tuple[str, FitConfig], Tensor] | None = None

    def figures(
        self, segment: str, frames: npt.NDArray[np.int64], ways: Sequence[Way], settings: FitConfig
    ) -> dict[str, Figures]:
        """One sequence fitted once, and the figures of each way that makes its codes from that."""
        truth = self.packed.vertices(frames).to(self.avatar.vertex_mean)
        codes = self._codes(segment, truth, settings)
        figures = {}
        for way in ways:
            with torch.no_grad():
                vertices = self.avatar.decode_mesh(smoothed(codes, way.smoothing))
            measured: tuple[Tensor, ...] = (
                (vertices - truth).norm(dim=-1).mean(-1),
                second_difference(vertices),
                second_difference(vertices - truth),
                second_difference(truth),
            )
            figures[way.name] = Figures(segment, *(part.double().cpu().numpy() for part in measured))
        return figures

    def _codes(self, segment: str, truth: Tensor, settings: FitConfig) -> Tensor:
        if self._latest is None or self._latest[0] != (segment, settings):
            seed = zlib.crc32(f"{self.seed} {self.noise:g} {segment}".encode())
            observations = noisy_observations(self.avatar, truth, self.noise, seed)
            states = fit_sequence(self.avatar, observations, settings, temporal=self.temporal)
            codes = torch.stack([torch.from_numpy(state.z) for state in states]).to(truth)
            self._latest = (segment, settings), codes
        return self._latest[1]


def _row(way: Way, noise: float, fit: FitConfig, figures: Mapping[str, list[Figures]]) -> dict[str, Any]:
    def sample(name: str, metric: str) -> Sample:
        parts = figures[name]
        measured: list[Floats] = [getattr(part, metric) for part in parts]
        values = np.concatenate(measured)[None]
        return Sample(values, tuple(part.segment for part, own in zip(parts, measured) for _ in own))

    row: dict[str, Any] = {"name": way.name, "title": way.title, "noise_px": noise}
    row |= {"prior_weight": fit.prior_weight, "space": fit.space}
    row |= {"sequences": len(figures[way.name]), "frames": sum(len(part.error_mm) for part in figures[way.name])}
    row |= {metric: interval([sample(way.name, metric)]).to_json() for metric in METRICS}
    for key, other in (("paired", REFERENCE), ("against_control", CONTROL)):
        compared = other in figures and way.name != other
        row[key] = (
            None
            if not compared
            else {
                metric: interval([paired(sample(way.name, metric), sample(other, metric))]).to_json()
                for metric in METRICS
            }
        )
    row["true_jitter_mm"] = float(np.concatenate([part.true_jitter_mm for part in figures[way.name]]).mean())
    return row
