"""The frames that models are judged on: some of each held-out expression, seen from left, front and right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.capture import Capture, FrameId, PackedCapture, PackProgress, pack
from lipflow.capture.headset import mean_head_pose
from lipflow.checks import InputError
from lipflow.validation import spread

_ASIDE = radians(60)
VIEWS = {  # where a view's camera should be, seen from the head; the wearer's left is +x
    "front": (0.0, 0.0, 1.0),
    "left": (sin(_ASIDE), 0.0, cos(_ASIDE)),
    "right": (-sin(_ASIDE), 0.0, cos(_ASIDE)),
}
KEYPOINT_NOISE = 0.5  # σ that fits to clean keypoints assume, pixels
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FrameSizes:
    """At what sizes frames are judged: those that the models were trained at."""

    texture: int  # T
    photo: tuple[int, int]  # height, width
    hmc: tuple[int, int] | None  # height, width; None: no headset images


@dataclass(frozen=True)
class FrameCounts:
    """How many frames of each split, spread evenly over its expressions."""

    test: int = 24  # judged
    val: int = 8  # that fits are chosen on
    train: int = 48  # whose mean is the mean frame, and stands in for what an impoverished input lacks


@dataclass(frozen=True, eq=False)
class Seen:
    """What is seen of B frames at inference time, on one device."""

    hmc: Tensor | None  # [B, 3, h, w] mouth, left eye, right eye, in [0, 1]
    hmc_mask: Tensor | None  # [B, 3, h, w] 1 on the head; 0 throughout for a view that is absent
    keypoints: Tensor | None  # [B, 136, 2] under the keypoint camera, divided by its width and height
    weights: Tensor  # [136] 0 for a landmark that is absent
    keypoint_size: tuple[int, int]  # height, width of the keypoint camera's image
    keypoint_noise: float  # σ, pixels of that image
    photo: Tensor  # [B, 3, H, W] linear RGB, from the front
    photo_mask: Tensor  # [B, H, W]
    camera: Camera  # B, of the photos, head frame

    def driving(self, kind: str | None) -> Tensor | None:
        """What drives an avatar: [B, ...]."""
        return {"hmc": self.hmc, "kpt": self.keypoints, None: None}[kind]


@dataclass(frozen=True, eq=False)
class Truth:
    """What B frames look like from one camera."""

    vertices: Tensor  # [B, V, 3] mm
    photo: Tensor  # [B, 3, H, W] linear RGB
    mask: Tensor  # [B, H, W]
    camera: Camera  # B, head frame
    texture: Tensor  # [B, 3, T, T] what this camera recorded of the surface; what it did not see, as all cameras did


@dataclass(frozen=True)
class EvaluationFrames:
    """Frames packed for evaluation. Only their folder and the cameras' names travel between processes."""

    folder: Path
    cameras: tuple[tuple[str, str], ...]  # (view, camera): "front", and "left" and "right" where there are such

    def __reduce__(self) -> tuple[type[EvaluationFrames], tuple[Path, tuple[tuple[str, str], ...]]]:
        return EvaluationFrames, (self.folder, self.cameras)  # without the open pack

    @cached_property
    def packed(self) -> PackedCapture:
        return PackedCapture(self.folder)

    def indices(self, split: str) -> Indices:
        return self.packed.split(split)

    def seen(self, indices: Indices, device: torch.device | str = "cpu") -> Seen:
        """Read some frames as an observer sees them."""
        batch = self.packed.batch(indices, self._places(indices, "front"), device)
        return Seen(
            hmc=batch.hmc,
            hmc_mask=batch.hmc_mask,
            keypoints=batch.keypoints,
            weights=torch.ones(0 if batch.keypoints is None else batch.keypoints.shape[1], device=device),
            keypoint_size=self.packed.keypoint_camera.size,
            keypoint_noise=KEYPOINT_NOISE,
            photo=batch.photo,
            photo_mask=batch.mask,
            camera=batch.camera,
        )

    def truth(self, indices: Indices, view: str, device: torch.device | str = "cpu") -> Truth:
        """Read some frames as the camera of a view saw them."""
        batch = self.packed.batch(indices, self._places(indices, view), device)
        texture = torch.where(batch.view_texture > 0, batch.view_texture, batch.average_texture)
        return Truth(batch.vertices, batch.photo, batch.mask, batch.camera, texture)

    def _places(self, indices: Indices, view: str) -> list[int]:
        """Where each frame keeps the camera of a view."""
        name = dict(self.cameras)[view]
        return [self.packed.cameras_of(int(i)).index(name) for i in indices]


def pack_frames(
    capture: Capture, sizes: FrameSizes, counts: FrameCounts
) -> Generator[PackProgress, None, EvaluationFrames]:
    """Pack the frames to judge a capture's models on; they are kept inside the capture, and reused.

    Raises:
        InputError: if the capture holds out no expressions, or as ``pack`` does.
    """
    chosen = [
        id for split, count in vars(counts).items() for id in spread_over_expressions(capture.split[split], count)
    ]
    if not capture.split["test"] or not capture.split["val"]:
        mend = "name expressions for both in its split.json"
        raise InputError(f"capture {capture.name}", expected="test and val expressions", got="none", mend=mend)
    cameras = evaluation_cameras(capture, chosen)
    names = [name for _, name in cameras]
    ids = [id for id in chosen if set(names) <= set(capture.photo_cameras(id))]
    packed = yield from pack(
        capture,
        texture=sizes.texture,
        photo=sizes.photo,
        hmc=sizes.hmc,
        cameras=names,
        ids=ids,
        cameras_per_frame=len(names),
        slop_variants=0,
    )
    return EvaluationFrames(packed.folder, cameras)


def evaluation_cameras(capture: Capture, ids: Sequence[FrameId]) -> tuple[tuple[str, str], ...]:
    """The dome cameras closest to the front, and to 60° to the left and to the right: (view, camera), each once.

    Only cameras that photographed as many of the frames as any other are considered.

    Raises:
        InputError: if there is none.
    """
    photographed = Counter(name for id in ids for name in capture.photo_cameras(id))
    most = max(photographed.values(), default=0)
    names = [name for name in capture.cameras if photographed[name] == most > 0]
    if not names:
        raise InputError(f"capture {capture.name}", expected="photos of held-out frames", got="none")
    pose = mean_head_pose(capture)
    towards = torch.stack([capture.cameras[name].in_head_frame(pose).view for name in names])  # [N, 3]
    chosen: dict[str, str] = {}
    for view, direction in VIEWS.items():
        best = names[int((towards @ towards.new_tensor(direction)).argmax())]
        if best not in chosen.values():
            chosen[view] = best
    return tuple(chosen.items())


def spread_over_expressions(ids: Sequence[FrameId], count: int) -> list[FrameId]:
    """At most ``count`` frames: of each expression the same number (give or take one), evenly spaced."""
    expressions = list(dict.fromkeys(id.segment for id in ids))
    taken = spread(np.arange(len(expressions)), count)
    chosen: list[FrameId] = []
    for place, expression in enumerate(taken):
        own = [id for id in ids if id.segment == expressions[int(expression)]]
        share = count // len(taken) + (place < count % len(taken))
        chosen += [own[int(k)] for k in spread(np.arange(len(own)), share)]
    return chosen
