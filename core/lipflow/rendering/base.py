"""What every renderer does, whatever it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from lipflow.camera import Camera
from lipflow.mesh import Topology


@dataclass(frozen=True, eq=False)
class RenderOutput:
    """A batch of rendered images; the background is zero, its index -1 and its depth 0."""

    rgb: Tensor  # [B, C, H, W]
    mask: Tensor  # [B, H, W] 1 where a triangle covers the pixel's centre (soft at silhouettes if asked for)
    index: Tensor  # [B, H, W] int32, the triangle
    depth: Tensor  # [B, H, W] mm


class Renderer(Protocol):
    """Draws textured meshes of one topology, with gradients to vertices and texture.

    Perspective-correct interpolation, bilinear texture lookup clamped at the border, triangles clipped at the near
    plane. Thread-safe: two workers may render with one renderer at once.
    """

    topology: Topology

    def render(self, vertices: Tensor, texture: Tensor, cameras: Camera) -> RenderOutput:
        """Render ``vertices`` [B, V, 3] (mm, the cameras' reference frame) with ``texture`` [B or 1, C, T, T].

        ``cameras`` holds B cameras, or one for all. Raises InputError on shapes that do not fit together.
        """
        ...
