"""Sequences from noisy keypoints: what a temporal prior gains over fits frame by frame, in error and in jitter.

Every way sees the same noise. Error is the mean vertex distance. Jitter is the mean length of the vertices' second
difference over the frames (mm): of the fit, beside the truth's own, and of the fit minus the truth, which a still face
or a lagging one cannot lower for free. λ of each way is the one with the least error on validation sequences.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.capture.packed import PackedCapture
from lipflow.checks import InputError
from lipflow.evaluation.bootstrap import Sample, interval, paired
from lipflow.fitting import FitConfig
from lipflow.observations import KeypointObservation
from lipflow.temporal import TemporalPrior, fit_sequence
from lipflow.temporal_training import ordered

Floats = npt.NDArray[np.float64]
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
REFERENCE = "frame"  # the way that others are paired with


@dataclass(frozen=True)
class SequenceConfig:
    """What is compared."""

    noise: tuple[float, ...] = (1.0, 2.0)  # standard deviations of keypoint noise, pixels
    prior_weights: tuple[float, ...] = (0.3, 1.0, 3.0)  # λ to choose from
    fit: FitConfig = field(default_factory=lambda: FitConfig(optimiser="lm", iterations=20))
    seed: int = 0  # of the noise

    def __post_init__(self) -> None:
        if not self.noise or not self.prior_weights or min(*self.noise, *self.prior_weights) <= 0:
            raise InputError("noise and prior_weights", expected="some numbers above 0", got="others")


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
    total = len(config.noise) * len(fitted) * (len(config.prior_weights) * len(held_out) + len(test))
    rows, done = [], 0
    for noise in config.noise:
        figures: dict[str, list[Figures]] = {}
        weights: dict[str, float] = {}
        for prior in fitted:
            own = [way for way in ways if way.prior == prior]
            temporal = None if prior is None else priors[prior]
            errors: dict[tuple[str, float], list[float]] = {}
            for weight in config.prior_weights:
                settings = replace(config.fit, prior_weight=weight)
                for segment, frames in held_out.items():
                    for way, found in _judged(avatar, packed, segment, frames, own, temporal, noise, settings, config):
                        errors.setdefault((way.name, weight), []).append(float(found.error_mm.mean()))
                    done += 1
                    yield CompareState(done, total)
            for way in own:
                of_way = [float(np.mean(errors[way.name, weight])) for weight in config.prior_weights]
                weights[way.name] = config.prior_weights[int(np.argmin(of_way))]
            for segment, frames in test.items():
                for weight in sorted({weights[way.name] for way in own}):
                    chosen = [way for way in own if weights[way.name] == weight]
                    settings = replace(config.fit, prior_weight=weight)
                    for way, found in _judged(
                        avatar, packed, segment, frames, chosen, temporal, noise, settings, config
                    ):
                        figures.setdefault(way.name, []).append(found)
                done += 1
                yield CompareState(done, total)
        rows += [_row(way, noise, weights[way.name], figures) for way in ways]
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


def _judged(
    avatar: Avatar,
    packed: PackedCapture,
    segment: str,
    frames: npt.NDArray[np.int64],
    ways: Sequence[Way],
    temporal: TemporalPrior | None,
    noise: float,
    settings: FitConfig,
    config: SequenceConfig,
) -> Iterator[tuple[Way, Figures]]:
    """One sequence fitted once, and the figures of each way that makes its codes from that."""
    truth = packed.vertices(frames).to(avatar.vertex_mean)
    seed = zlib.crc32(f"{config.seed} {noise:g} {segment}".encode())
    observations = noisy_observations(avatar, truth, noise, seed)
    states = fit_sequence(avatar, observations, settings, temporal=temporal)
    codes = torch.stack([torch.from_numpy(state.z) for state in states]).to(truth)
    for way in ways:
        with torch.no_grad():
            vertices = avatar.decode_mesh(smoothed(codes, way.smoothing))
        measured: tuple[Tensor, ...] = (
            (vertices - truth).norm(dim=-1).mean(-1),
            second_difference(vertices),
            second_difference(vertices - truth),
            second_difference(truth),
        )
        yield way, Figures(segment, *(part.double().cpu().numpy() for part in measured))


def _row(way: Way, noise: float, weight: float, figures: Mapping[str, list[Figures]]) -> dict[str, Any]:
    def sample(name: str, metric: str) -> Sample:
        parts = figures[name]
        measured: list[Floats] = [getattr(part, metric) for part in parts]
        values = np.concatenate(measured)[None]
        return Sample(values, tuple(part.segment for part, own in zip(parts, measured) for _ in own))

    row: dict[str, Any] = {"name": way.name, "title": way.title, "noise_px": noise, "prior_weight": weight}
    row |= {"sequences": len(figures[way.name]), "frames": sum(len(part.error_mm) for part in figures[way.name])}
    for metric in METRICS:
        own, reference = (sample(name, metric) for name in (way.name, REFERENCE))
        row[metric] = interval([own]).to_json()
        row.setdefault("paired", {})[metric] = interval([paired(own, reference)]).to_json()
    row["true_jitter_mm"] = float(np.concatenate([part.true_jitter_mm for part in figures[way.name]]).mean())
    if way.name == REFERENCE:
        row["paired"] = None
    return row
