"""What was recorded: frames of a head under the cameras of a dome, whatever the layout on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from lipflow.camera import Camera
from lipflow.mesh import Landmarks, Topology

FloatArray = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, order=True)
class FrameId:
    """One moment of a capture."""

    segment: str  # the expression or sentence that was performed
    number: int  # frame numbers skip

    def __str__(self) -> str:
        return f"{self.segment}/{self.number:06d}"


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and spread of a capture's meshes and average textures: what networks see is normalised by them."""

    vertex_mean: FloatArray  # [V, 3] mm, head frame
    vertex_std: float  # mm, one number for all coordinates
    texture_mean: FloatArray  # [3, T, T] linear in [0, 1], first row at v = 1
    texture_std: float  # one number for all texels, in the units of texture_mean
    texture_valid: Mask  # [T, T] texels that the surface uses


@dataclass(frozen=True, eq=False)
class Frame:
    """One moment, read whole. Pictures are 8-bit LINEAR RGB; texture rows run from v = 1 down, 0 is an unseen texel."""

    id: FrameId
    vertices: FloatArray  # [V, 3] mm, head frame
    head_pose: FloatArray  # [3, 4] head -> world
    average_texture: Bytes | None  # [3, T, T] over all dome views
    cameras: tuple[str, ...]  # the names under which photos, masks and textures were asked for and are here
    photos: dict[str, Bytes]  # camera -> [3, H, W]
    masks: dict[str, Mask]  # camera -> [H, W] foreground
    textures: dict[str, Bytes]  # camera -> [3, T, T] as that camera saw the surface


class Capture(Protocol):
    """A recorded head. Frames are read when asked for; nothing is kept.

    Reading raises InputError, in one line that names the file, when a file is damaged.
    """

    name: str
    root: Path
    topology: Topology
    landmarks: Landmarks | None
    cameras: dict[str, Camera]  # in the world, at photo_size
    frames: list[FrameId]  # those that have a mesh, a pose and an average texture
    split: dict[str, list[FrameId]]  # "train", "val", "test": held out by segment
    missing: list[str]  # files (or whole folders) that the capture names but that are not here
    photo_size: tuple[int, int]  # height, width
    texture_size: int  # T

    @property
    def statistics(self) -> Statistics: ...

    def vertices(self, id: FrameId) -> Tensor:
        """[V, 3] mm, head frame."""
        ...

    def head_pose(self, id: FrameId) -> Tensor:
        """[3, 4] head -> world, mm."""
        ...

    def camera(self, id: FrameId, name: str) -> Camera:
        """A dome camera in the head frame of this moment."""
        ...

    def photo_cameras(self, id: FrameId) -> tuple[str, ...]:
        """Cameras that have a photo of this frame."""
        ...

    def texture_cameras(self, id: FrameId) -> tuple[str, ...]:
        """Cameras that have an unwrapped texture of this frame."""
        ...

    def average_texture(self, id: FrameId) -> Tensor:
        """[3, T, T] linear in [0, 1]; unseen texels are 0."""
        ...

    def texture(self, id: FrameId, camera: str) -> Tensor:
        """[3, T, T] linear in [0, 1] as one camera saw the surface; unseen texels are 0."""
        ...

    def photo(self, id: FrameId, camera: str) -> Tensor:
        """[3, H, W] linear in [0, 1]."""
        ...

    def mask(self, id: FrameId, camera: str) -> Tensor | None:
        """[H, W] 1 on the head, 0 behind it; None where the capture has no mask."""
        ...

    def frame(
        self,
        id: FrameId,
        *,
        photos: tuple[str, ...] | None = None,
        textures: tuple[str, ...] | None = None,
    ) -> Frame:
        """Everything of one moment; ``photos`` and ``textures`` limit the cameras (None = all that are here)."""
        ...
