"""What a fit is worth when less and less is seen: fewer landmarks, noisier ones, fewer headset views.

What is taken away is taken from the energy AND from what drives the prior. An encoder cannot leave an input out: it is
given the mean of the training frames there, the mean keypoints or the mean headset image. Added noise is known to the
observer: the energy's σ grows with it. The fits are those chosen on full inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from lipflow.checks import InputError
from lipflow.evaluation.codes import chunks
from lipflow.evaluation.frames import EvaluationFrames, Indices, Seen

Axis = Literal["landmarks", "noise", "views"]
Impoverish = Callable[[Seen, Indices], Seen]


@dataclass(frozen=True)
class Level:
    """One step away from the full input."""

    driving: Literal["hmc", "kpt"]  # whose table's rows are computed
    axis: Axis
    level: int  # landmarks that are left, pixels of noise, views that are left


LEVELS: tuple[Level, ...] = (
    *(Level("kpt", "landmarks", count) for count in (136, 68, 34, 17)),
    *(Level("kpt", "noise", pixels) for pixels in (0, 1, 2, 4)),
    *(Level("hmc", "views", count) for count in (3, 2, 1)),  # all; mouth and left eye; mouth
)


@dataclass(frozen=True, eq=False)
class Means:
    """What the training frames look like on average."""

    hmc: Tensor | None  # [3, h, w]
    keypoints: Tensor | None  # [136, 2]
    order: tuple[int, ...]  # landmarks, each as far as can be from those before: the first n are spread over the face

    @staticmethod
    def of(frames: EvaluationFrames) -> Means:
        """Raises InputError if no training frames are packed."""
        train = frames.indices("train")
        if len(train) == 0:
            raise InputError(f"capture {frames.packed.name}", expected="frames in the train split", got="none")
        seen = [frames.seen(chunk) for chunk in chunks(train)]
        hmc = [part.hmc for part in seen if part.hmc is not None]
        keypoints = [part.keypoints for part in seen if part.keypoints is not None]
        marks, statistics = frames.packed.landmarks, frames.packed.statistics
        places = None if marks is None else torch.from_numpy(statistics.vertex_mean[list(marks.ids)])
        return Means(
            torch.cat(hmc).mean(0) if hmc else None,
            torch.cat(keypoints).mean(0) if keypoints else None,
            () if places is None else farthest_order(places),
        )

    def impoverish(self, level: Level) -> Impoverish:
        """What a level does to what is seen of some frames."""
        return lambda seen, indices: _AXES[level.axis](self, level.level, seen, indices)


def farthest_order(points: Tensor) -> tuple[int, ...]:
    """Points [N, 3] ordered so that each is farthest from all before it; the first is closest to their centre."""
    chosen = [int((points - points.mean(0)).norm(dim=-1).argmin())]
    distance = (points - points[chosen[0]]).norm(dim=-1)
    while len(chosen) < len(points):
        distance[chosen[-1]] = -1.0  # never again, even among points in one place
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).norm(dim=-1))
    return tuple(chosen)


def _fewer_landmarks(means: Means, count: int, seen: Seen, indices: Indices) -> Seen:
    if seen.keypoints is None or means.keypoints is None:
        raise InputError("impoverished input", expected="keypoints", got="frames without")
    keep = torch.zeros(len(means.order), dtype=torch.bool, device=seen.keypoints.device)
    keep[list(means.order[:count])] = True
    keypoints = torch.where(keep[:, None], seen.keypoints, means.keypoints.to(seen.keypoints))
    return replace(seen, keypoints=keypoints, weights=seen.weights * keep)


def _noisier_landmarks(means: Means, pixels: int, seen: Seen, indices: Indices) -> Seen:
    """Independent noise, the same for every model: it is drawn by the frame."""
    if seen.keypoints is None:
        raise InputError("impoverished input", expected="keypoints", got="frames without")
    drawn = [torch.randn(seen.keypoints.shape[1:], generator=torch.Generator().manual_seed(int(i))) for i in indices]
    height, width = seen.keypoint_size
    scale = seen.keypoints.new_tensor([pixels / width, pixels / height])
    noisy = (seen.keypoints + torch.stack(drawn).to(seen.keypoints) * scale).clamp(0.0, 1.0)
    return replace(seen, keypoints=noisy, keypoint_noise=(seen.keypoint_noise**2 + pixels**2) ** 0.5)


def _fewer_views(means: Means, count: int, seen: Seen, indices: Indices) -> Seen:
    if seen.hmc is None or seen.hmc_mask is None or means.hmc is None:
        raise InputError("impoverished input", expected="headset images", got="frames without")
    hmc, mask = seen.hmc.clone(), seen.hmc_mask.clone()
    hmc[:, count:] = means.hmc[count:].to(hmc)
    mask[:, count:] = 0
    return replace(seen, hmc=hmc, hmc_mask=mask)


_AXES: dict[str, Callable[[Means, int, Seen, Indices], Seen]] = {
    "landmarks": _fewer_landmarks,
    "noise": _noisier_landmarks,
    "views": _fewer_views,
}
