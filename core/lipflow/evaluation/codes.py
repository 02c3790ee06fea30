"""Codes for frames, found as a table's row says: decoded from an encoder, or fitted to what is seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lipflow.avatar import Avatar
from lipflow.checks import InputError
from lipflow.evaluation.batch_fit import HeadsetImages, Images, Photographs, fit_batch
from lipflow.evaluation.frames import EvaluationFrames, Indices, Seen
from lipflow.evaluation.protocols import Row
from lipflow.fitting import FitConfig, fit
from lipflow.observations import KeypointObservation
from lipflow.rendering import Renderer, make_renderer

CHUNK = 8  # frames at once


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes of some frames."""

    z: Tensor  # [N, Z]
    ms: float  # a frame: processor time over all threads on the CPU, elapsed time on a GPU


@dataclass(frozen=True, eq=False)
class Judged:
    """One avatar with the frames that it is judged on."""

    avatar: Avatar  # for inference, on its device
    frames: EvaluationFrames
    renderer: Renderer = field(init=False)

    def __post_init__(self) -> None:
        renderer = make_renderer(self.avatar.topology, device=self.device)
        object.__setattr__(self, "renderer", renderer)

    @property
    def device(self) -> torch.device:
        return self.avatar.vertex_mean.device

    def codes(
        self,
        row: Row,
        indices: Indices,
        config: FitConfig | None = None,
        *,
        impoverish: Callable[[Seen, Indices], Seen] | None = None,
    ) -> Codes:
        """The codes that a row gives for some frames.

        Args:
            row: what to do; one that a model makes.
            indices: [N] frames, at least one.
            config: of a fit.
            impoverish: takes away from what is seen, before anything looks at it.

        Raises:
            InputError: if the frames lack what the row looks at.
        """
        find = WAYS[row.source or row.method]
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        parts: list[Tensor] = []
        seconds = 0.0
        for chunk in chunks(indices):
            seen = self.frames.seen(chunk, self.device)
            seen = seen if impoverish is None else impoverish(seen, chunk)
            began = clock()
            parts.append(find(self, chunk, seen, config or FitConfig()))
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds += clock() - began
        return Codes(torch.cat(parts), 1000 * seconds / len(indices))


def chunks(indices: Indices) -> Iterator[Indices]:
    """Frames in portions that fit into memory."""
    for first in range(0, len(indices), CHUNK):
        yield indices[first : first + CHUNK]


@torch.no_grad()
def _q_mean(judged: Judged, chunk: Indices, seen: Seen, config: FitConfig) -> Tensor:
    batch = judged.frames.packed.batch(chunk, 0, judged.device)
    return judged.avatar.encode(batch.average_texture, batch.vertices)[0]


@torch.no_grad()
def _p_mean(judged: Judged, chunk: Indices, seen: Seen, config: FitConfig) -> Tensor:
    avatar = judged.avatar
    return avatar.prior.start(avatar.context(seen.driving(avatar.driving)))


def _fitted_to_headset(judged: Judged, chunk: Indices, seen: Seen, config: FitConfig) -> Tensor:
    if seen.hmc is None or seen.hmc_mask is None or judged.avatar.hmc_cameras is None:
        raise InputError("fit", expected="headset images", got="frames or an avatar without")
    return _fitted_to(HeadsetImages(seen.hmc, seen.hmc_mask, judged.avatar.hmc_cameras), judged, seen, config)


def _fitted_to_photographs(judged: Judged, chunk: Indices, seen: Seen, config: FitConfig) -> Tensor:
    return _fitted_to(Photographs(seen.photo, seen.photo_mask, seen.camera), judged, seen, config)


def _fitted_to(images: Images, judged: Judged, seen: Seen, config: FitConfig) -> Tensor:
    driving = seen.driving(judged.avatar.driving)
    return fit_batch(judged.avatar, images, driving, len(seen.photo), config).z


def _fitted_to_keypoints(judged: Judged, chunk: Indices, seen: Seen, config: FitConfig) -> Tensor:
    """One after the other: Levenberg–Marquardt is done in a few steps."""
    if seen.keypoints is None or judged.avatar.keypoint_camera is None:
        raise InputError("fit", expected="keypoints", got="frames or an avatar without")
    codes = []
    for points in seen.keypoints:
        camera, noise = judged.avatar.keypoint_camera, seen.keypoint_noise
        *_, last = fit(judged.avatar, KeypointObservation(points, camera, seen.weights, noise), config)
        codes.append(torch.from_numpy(last.z))
    return torch.stack(codes).to(judged.device)


WAYS: dict[str, Callable[[Judged, Indices, Seen, FitConfig], Tensor]] = {
    "decode-q": _q_mean,
    "decode-p": _p_mean,
    "hmc": _fitted_to_headset,
    "kpt": _fitted_to_keypoints,
    "frontal": _fitted_to_photographs,
}
