"""Whether posteriors are right about what they do not know: how often the true face lies inside their intervals.

For every coordinate of every vertex, the posterior's codes give a distribution. The truth's place in it, F(truth), is
uniform if the posterior is right (Dawid 1984); a central interval of a nominal share p holds the truth where
|F − ½| ≤ p / 2. Coverage is the share of coordinates, over test frames, where it does.

Two distributions are judged. ``codes``: what the posterior's codes decode to. They are as sure as the observation's
stated noise and the prior make them, and know nothing of what the decoder cannot draw. ``predictive``: with the
decoder's own error added, a normal distribution for each coordinate with the root mean square of ``decode(encode(x)) −
x`` over validation frames; avatars without an encoder have none. Keypoints get the noise that their energy states, so
that the likelihood is right; headset images are as they were made, with no more noise than the decoder's.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow import serial
from lipflow.avatar import Avatar
from lipflow.checks import InputError, check_seed
from lipflow.evaluation.bootstrap import Sample, interval
from lipflow.evaluation.codes import chunks
from lipflow.evaluation.frames import EvaluationFrames, spread_over_expressions
from lipflow.evaluation.runs import Run
from lipflow.files import write_json
from lipflow.fitting import FitConfig, fit, make_problem
from lipflow.observations import HmcObservation, KeypointObservation, Observation
from lipflow.posterior import Posterior, PosteriorConfig, sample_posterior
from lipflow.variants import VARIANTS

FILE = "calibration.json"  # in a run's folder
FORMAT, VERSION = "lipflow-calibration", 1
NOMINAL = (0.5, 0.8, 0.9, 0.95)
KINDS = {"codes": "codes alone", "predictive": "with the decoder's error"}
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationConfig:
    """What is judged."""

    frames: int = 12
    """Test frames, spread over the held-out expressions."""
    posterior: PosteriorConfig | None = None
    """How each is sampled; None: what suits the observation."""
    fit: FitConfig | None = None
    """How each is fitted first; None: what suits the observation. Its λ is the posterior's; 1 is what the stated noise
    means."""
    driving: str = "kpt"
    """What avatars that nothing drives are fitted to: "hmc" or "kpt"."""
    seed: int = 0
    """Of the keypoints' noise and the samples."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise InputError("frames", expected="1 or more", got=self.frames)
        check_seed(self.seed)
        if self.driving not in ("hmc", "kpt"):
            raise InputError("driving", expected="hmc or kpt", got=repr(self.driving))


@dataclass(frozen=True, eq=False)
class Calibration:
    """One avatar's posteriors on test frames [F]."""

    expressions: tuple[str, ...]  # [F]
    coverage: dict[str, Floats]  # of each of KINDS that can be told, [F, levels]
    histogram: dict[str, Floats]  # of each, [20] share of coordinates by F(truth); flat if calibrated
    ess: Floats  # [F] effective samples
    std_mm: Floats  # [F] mean over the vertices of the posterior's standard deviation
    error_mm: Floats  # [F] mean over the vertices of the posterior mean's distance from the truth
    decoder_mm: float | None  # mean over the vertices of the decoder's own error


@dataclass(frozen=True)
class CalibrationState:
    """How far a calibration is."""

    done: int  # frames
    total: int


def calibrate(
    avatar: Avatar, frames: EvaluationFrames, config: CalibrationConfig | None = None
) -> Generator[CalibrationState, None, Calibration]:
    """Judge an avatar's posteriors on test frames, one after the other.

    Raises:
        InputError: if the frames lack what the avatar is driven by.
    """
    config = CalibrationConfig() if config is None else config
    packed = frames.packed
    ids = spread_over_expressions([packed.frames[int(i)] for i in frames.indices("test")], config.frames)
    indices = np.array([packed.frames.index(id) for id in ids])
    error = decoder_error(avatar, frames)
    tally = _Tally(error)
    yield CalibrationState(0, len(indices))
    for k, index in enumerate(indices):
        observation = _observation(avatar, frames, index, config)
        found = _sampled(avatar, observation, config, seed=config.seed + k)
        truth = packed.vertices([index])[0].to(avatar.vertex_mean)
        tally.add(avatar, found, truth)
        yield CalibrationState(k + 1, len(indices))
    return tally.result(tuple(id.segment for id in ids))


@torch.no_grad()
def decoder_error(avatar: Avatar, frames: EvaluationFrames) -> Tensor | None:
    """Root mean square of ``decode(encode(x)) − x`` over validation frames, [V, 3] mm; None without an encoder."""
    if avatar.encoder is None:
        return None
    squares, count = torch.zeros_like(avatar.vertex_mean), 0
    for chunk in chunks(frames.indices("val")):
        batch = frames.packed.batch(chunk, 0, avatar.vertex_mean.device)
        z, _ = avatar.encode(batch.average_texture, batch.vertices)
        squares += (avatar.decode_mesh(z) - batch.vertices).square().sum(0)
        count += len(chunk)
    return (squares / count).sqrt()


@torch.no_grad()
def places(vertices: Tensor, weights: Tensor, truth: Tensor, error: Tensor | None = None) -> Tensor:
    """F(truth) for each coordinate, [V, 3], of weighted draws [n, V, 3] with weights [n] that sum to 1.

    With ``error`` [V, 3] each draw is a normal distribution of that standard deviation; without, a tie counts half.
    """
    apart = truth - vertices
    if error is None:
        below = torch.heaviside(apart, apart.new_tensor(0.5))
    else:
        below = torch.special.ndtr(apart / error.clamp_min(1e-6))
    return torch.einsum("n,nvc->vc", weights.to(below), below).clamp(0, 1)  # rounding


def entries(judged: Sequence[tuple[Run, Calibration]], *, seed: int = 0) -> list[dict[str, Any]]:
    """Calibrations of runs as results.json holds them: an entry a variant and kind, over its subjects and seeds.

    Runs of one subject must have been judged on the same frames, as one ``CalibrationConfig`` sees to.
    """
    return list(_entries(judged, seed))


def _entries(judged: Sequence[tuple[Run, Calibration]], seed: int) -> Iterator[dict[str, Any]]:
    for variant in [name for name in VARIANTS if any(run.variant.name == name for run, _ in judged)]:
        own = [(run, calibration) for run, calibration in judged if run.variant.name == variant]
        for kind, title in KINDS.items():
            told = [(run, calibration) for run, calibration in own if kind in calibration.coverage]
            if not told:
                continue
            coverage = [interval(_samples(told, kind, level), seed=seed).to_json() for level in range(len(NOMINAL))]
            yield {
                "variant": variant,
                "title": f"{VARIANTS[variant].title}, {title}",
                "kind": kind,
                "nominal": list(NOMINAL),
                "coverage": coverage,
                "n": sum(len(calibration.expressions) for _, calibration in told),
                "histogram": np.mean([calibration.histogram[kind] for _, calibration in told], 0).tolist(),
                "ess": _median(np.concatenate([calibration.ess for _, calibration in told])),
                "std_mm": float(np.mean([calibration.std_mm.mean() for _, calibration in told])),
                "error_mm": float(np.mean([calibration.error_mm.mean() for _, calibration in told])),
                "decoder_mm": _mean([calibration.decoder_mm for _, calibration in told]),
            }


def kept_entries(path: Path, results: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The entries that a results.json holds, if ``results``, which is to replace it, is of the same calibrated runs."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        found, runs = before["calibration"], before["runs"]
        calibrated = {entry["variant"] for entry in found or ()}
        same = all(run in results["runs"] for run in runs if run["variant"] in calibrated)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if same else None


def _samples(told: Sequence[tuple[Run, Calibration]], kind: str, level: int) -> list[Sample]:
    """One a subject, with its seeds as rows."""
    subjects = sorted({run.subject for run, _ in told})
    samples = []
    for subject in subjects:
        own = [calibration for run, calibration in told if run.subject == subject]
        values = np.stack([calibration.coverage[kind][:, level] for calibration in own])
        samples.append(Sample(values, own[0].expressions))
    return samples


def _median(values: Floats) -> float | None:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _observation(
    avatar: Avatar, frames: EvaluationFrames, index: int, config: CalibrationConfig
) -> HmcObservation | KeypointObservation:
    seen = frames.seen(np.array([index]), avatar.vertex_mean.device)
    kind = avatar.driving or config.driving
    if kind == "hmc":
        if seen.hmc is None or seen.hmc_mask is None:
            raise InputError("calibration", expected="headset images", got="frames without")
        return HmcObservation.for_avatar(avatar, seen.hmc[0], seen.hmc_mask[0])
    if seen.keypoints is None or avatar.keypoint_camera is None:
        raise InputError("calibration", expected="keypoints", got="frames or an avatar without")
    height, width = avatar.keypoint_camera.size
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([config.seed, index]).generate_state(1)[0]))
    noise = seen.keypoint_noise * torch.randn(seen.keypoints[0].shape, generator=generator)
    keypoints = seen.keypoints[0] + (noise / torch.tensor([width, height])).to(seen.keypoints)
    return KeypointObservation(keypoints.clamp(0, 1), avatar.keypoint_camera, seen.weights, seen.keypoint_noise)


def _sampled(avatar: Avatar, observation: Observation, config: CalibrationConfig, seed: int) -> Posterior:
    # The density that is sampled is that of renders as they are, so that is whose peak is sought.
    settings = config.fit or replace(FitConfig.for_observation(observation), edges="hard")
    *_, last = fit(avatar, observation, settings)
    problem = make_problem(avatar, observation, settings)
    how = PosteriorConfig.for_observation(observation) if config.posterior is None else config.posterior
    z = torch.from_numpy(last.z).to(problem.mu)
    *_, state = sample_posterior(problem, z, replace(how, textures=False), seed=seed)
    assert state.posterior is not None  # the last state has all codes
    return state.posterior


@dataclass(eq=False)
class _Tally:
    """Figures of the frames so far."""

    error: Tensor | None  # [V, 3] mm, of the decoder
    coverage: dict[str, list[Floats]] = field(default_factory=dict)
    counts: dict[str, Floats] = field(default_factory=dict)
    figures: list[tuple[float, float, float]] = field(default_factory=list)  # ess, std, error

    @torch.no_grad()
    def add(self, avatar: Avatar, found: Posterior, truth: Tensor) -> None:
        vertices = avatar.decode_mesh(torch.from_numpy(found.codes).to(truth))
        weights = torch.from_numpy(found.weights)
        for kind, error in (("codes", None), ("predictive", self.error)):
            if kind == "predictive" and error is None:
                continue
            place = places(vertices, weights, truth, error).cpu().numpy().astype(np.float64)
            aside = np.abs(place - 0.5)
            self.coverage.setdefault(kind, []).append(np.array([(aside <= p / 2).mean() for p in NOMINAL]))
            counted = np.histogram(place, bins=20, range=(0, 1))[0] / place.size
            self.counts[kind] = self.counts.get(kind, np.zeros(20)) + counted
        mean = torch.from_numpy(found.vertex_mean).to(truth)
        apart = float((mean - truth).norm(dim=-1).mean())
        self.figures.append((found.ess, float(found.vertex_std.mean()), apart))

    def result(self, expressions: tuple[str, ...]) -> Calibration:
        ess, std, apart = np.array(self.figures).T
        return Calibration(
            expressions=expressions,
            coverage={kind: np.stack(rows) for kind, rows in self.coverage.items()},
            histogram={kind: counts / len(expressions) for kind, counts in self.counts.items()},
            ess=ess,
            std_mm=std,
            error_mm=apart,
            decoder_mm=None if self.error is None else float(self.error.norm(dim=-1).mean()),
        )


def calibrate_run(
    run: Run, frames: EvaluationFrames, config: CalibrationConfig | None = None
) -> Generator[CalibrationState, None, Calibration]:
    """``calibrate`` for a run's avatar; kept in the run's folder, and read from there the next time.

    Raises:
        InputError: as ``calibrate`` does, or if the avatar's file is damaged.
    """
    config = CalibrationConfig() if config is None else config
    made_of = {"config": serial.to_json(config), "avatar": run.avatar_hash(), "frames": frames.packed.hash}
    kept = _kept(run.folder / FILE, made_of)
    if kept is not None:
        return kept
    found = yield from calibrate(run.avatar(), frames, config)
    write_json(run.folder / FILE, {"format": FORMAT, "version": VERSION, **made_of, **to_json(found)})
    return found


def _kept(path: Path, made_of: dict[str, Any]) -> Calibration | None:
    """What an earlier run of the same left, if it is whole."""
    try:
        body = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    about = {"format": FORMAT, "version": VERSION, **made_of}
    if not isinstance(body, dict) or any(body.get(name) != value for name, value in about.items()):
        return None
    with contextlib.suppress(InputError):  # damaged: it is made anew
        return from_json(body)
    return None


def to_json(calibration: Calibration) -> dict[str, Any]:
    """Plain values; what cannot be told is None."""
    body: dict[str, Any] = {"expressions": list(calibration.expressions), "decoder_mm": calibration.decoder_mm}
    for name in ("coverage", "histogram"):
        body[name] = {kind: values.tolist() for kind, values in getattr(calibration, name).items()}
    for name in ("ess", "std_mm", "error_mm"):
        body[name] = [value if math.isfinite(value) else None for value in getattr(calibration, name).tolist()]
    return body


def from_json(body: dict[str, Any]) -> Calibration:
    """What ``to_json`` made.

    Raises:
        InputError: if it is something else.
    """
    try:
        return Calibration(
            expressions=tuple(body["expressions"]),
            coverage={kind: np.array(values, np.float64) for kind, values in body["coverage"].items()},
            histogram={kind: np.array(values, np.float64) for kind, values in body["histogram"].items()},
            ess=np.array(body["ess"], np.float64),
            std_mm=np.array(body["std_mm"], np.float64),
            error_mm=np.array(body["error_mm"], np.float64),
            decoder_mm=body["decoder_mm"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("calibration", expected="a calibration's figures", got=" ".join(str(error).split())) from error
