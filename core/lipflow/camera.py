"""Pinhole cameras, in the ONE convention that the whole project uses.

- A camera maps a point x in its reference frame (mm) to ``R x + t`` in the camera frame: x right, y down, z forward.
- ``K`` maps the camera frame to pixels. The centre of the top left pixel is (0, 0); its corner is (-0.5, -0.5).
- A capture's cameras are given in the world; ``Camera.in_head_frame`` brings them into the head frame, where
  meshes, views and everything else in the library live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lipflow.checks import InputError


@dataclass(frozen=True)
class Camera:
    """One camera, or a batch of cameras of one image size (leading dimensions of K, R and t)."""

    K: Tensor  # [..., 3, 3] intrinsics, pixels
    R: Tensor  # [..., 3, 3] rotation, reference frame -> camera frame
    t: Tensor  # [..., 3] translation, mm
    size: tuple[int, int]  # image height, width in pixels

    def project(self, points: Tensor) -> Tensor:
        """Project points: [..., N, 3] mm in the reference frame -> [..., N, 3] as (column px, row px, depth mm).

        Points at or behind the camera's plane keep their (non-positive) depth; their pixel is meaningless.
        """
        p = points @ self.R.transpose(-1, -2) + self.t[..., None, :]
        depth = p[..., 2:3]
        safe = torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)
        pixels = (p @ self.K.transpose(-1, -2))[..., :2] / safe
        return torch.cat([pixels, depth], dim=-1)

    def project_normalised(self, points: Tensor) -> Tensor:
        """Project to [..., N, 2] divided by the image's width and height (the paper's keypoint coordinates)."""
        height, width = self.size
        return self.project(points)[..., :2] / points.new_tensor([width, height])

    @property
    def centre(self) -> Tensor:
        """Camera centre in the reference frame, [..., 3] mm."""
        return -(self.R.transpose(-1, -2) @ self.t[..., None])[..., 0]

    @property
    def view(self) -> Tensor:
        """Unit vector from the frame's origin to the camera centre, [..., 3] (the paper's v)."""
        return torch.nn.functional.normalize(self.centre, dim=-1)

    def in_head_frame(self, head_pose: Tensor) -> Camera:
        """This world camera seen from the head frame; ``head_pose`` [..., 3, 4] maps head -> world."""
        R_head, t_head = head_pose[..., :3], head_pose[..., 3]
        t = (self.R @ t_head[..., None])[..., 0] + self.t
        R = self.R @ R_head
        return replace(self, K=self.K.expand(*R.shape[:-2], 3, 3), R=R, t=t)

    def resized(self, size: tuple[int, int]) -> Camera:
        """The same camera at another resolution: pixel corners, not centres, are what scales."""
        sy, sx = size[0] / self.size[0], size[1] / self.size[1]
        scale = self.K.new_tensor([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])
        return replace(self, K=scale @ self.K, size=size)

    def __getitem__(self, index: int | slice | Tensor) -> Camera:
        return replace(self, K=self.K[index], R=self.R[index], t=self.t[index])

    def __len__(self) -> int:
        return self.K.shape[0] if self.K.dim() > 2 else 1

    def to(self, device: torch.device | str) -> Camera:
        return replace(self, K=self.K.to(device), R=self.R.to(device), t=self.t.to(device))

    def expand(self, n: int) -> Camera:
        """A batch of n copies of a single camera."""
        return replace(self, K=self.K.expand(n, 3, 3), R=self.R.expand(n, 3, 3), t=self.t.expand(n, 3))

    @staticmethod
    def stack(cameras: Sequence[Camera]) -> Camera:
        """Cameras of one image size as a batch [B].

        Raises:
            InputError: if their image sizes differ.
        """
        sizes = {camera.size for camera in cameras}
        if len(sizes) != 1:
            raise InputError("cameras of one batch", expected="one image size", got=sorted(sizes))
        return Camera(
            torch.stack([c.K for c in cameras]),
            torch.stack([c.R for c in cameras]),
            torch.stack([c.t for c in cameras]),
            cameras[0].size,
        )

    @staticmethod
    def look_at(
        eye: Sequence[float] | Tensor,
        target: Sequence[float] | Tensor,
        focal: float,
        size: tuple[int, int],
        up: Sequence[float] = (0.0, 1.0, 0.0),
    ) -> Camera:
        """A camera at ``eye`` (mm) looking at ``target``, principal point in the image's middle; focal in pixels."""
        eye_, target_ = torch.as_tensor(eye, dtype=torch.float32), torch.as_tensor(target, dtype=torch.float32)
        forward = torch.nn.functional.normalize(target_ - eye_, dim=0)
        right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor(up)), dim=0)
        R = torch.stack([right, torch.linalg.cross(forward, right), forward])
        K = torch.tensor([[focal, 0, (size[1] - 1) / 2], [0, focal, (size[0] - 1) / 2], [0, 0, 1]])
        return Camera(K, R, -R @ eye_, size)
