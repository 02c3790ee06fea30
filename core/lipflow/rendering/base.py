"""What every renderer does, whatever it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from lipflow.camera import Camera
from lipflow.checks import InputError, check_shape
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


def render_smoothly(renderer: Renderer, vertices: Tensor, texture: Tensor, cameras: Camera, samples: int = 3) -> Tensor:
    """A render as a camera's sensor sees it: each pixel is the mean over its area, linear RGB [B, C, H, W].

    ``Renderer.render`` takes one sample at each pixel's centre, which is differentiable and fast, and makes stairs of
    all edges. Here ``samples`` × ``samples`` of them fall into each pixel; else as ``Renderer.render``.
    """
    height, width = cameras.size
    fine = renderer.render(vertices, texture, cameras.resized((samples * height, samples * width)))
    return functional.avg_pool2d(fine.rgb, samples)


def projection_matrices(cameras: Camera, count: int) -> Tensor:
    """``K [R | t]`` of each camera as [count, 3, 4] float64, one camera repeated for all.

    In float64 whatever the cameras': float32 products may be rounded to bfloat16 where a caller has allowed that.
    """
    K, R, t = cameras.K.double(), cameras.R.double(), cameras.t.double()
    matrices = K @ torch.cat([R, t[..., None]], dim=-1)
    return matrices.reshape(-1, 3, 4).expand(count, 3, 4).contiguous()


def check_inputs(topology: Topology, vertices: Tensor, texture: Tensor, cameras: Camera) -> None:
    """Check what ``Renderer.render`` was given.

    Raises:
        InputError: on shapes that do not fit together, or an empty image or texture.
    """
    sizes = {"V": topology.vertex_count}
    check_shape(sizes, vertices=(vertices, "B V 3"), texture=(texture, "N C T T"))
    B, N = sizes["B"], sizes["N"]
    if N not in (1, B):
        raise InputError("texture", expected=f"one texture, or {B} like the vertices", got=f"{N}")
    camera_sizes: dict[str, int] = {}
    check_shape(camera_sizes, K=(cameras.K, "... 3 3"), R=(cameras.R, "... 3 3"), t=(cameras.t, "... 3"))
    dims = {cameras.K.shape[:-2], cameras.R.shape[:-2], cameras.t.shape[:-1]}
    if len(dims) != 1 or cameras.K.dim() > 3 or len(cameras) not in (1, B):
        raise InputError("cameras", expected=f"one camera, or {B} like the vertices", got=f"K {list(cameras.K.shape)}")
    if B == 0 or min(*cameras.size, sizes["T"], sizes["C"]) < 1:
        raise InputError(
            "render", expected="at least one mesh, channel, texel and pixel", got=f"{B} meshes, size {cameras.size}"
        )
