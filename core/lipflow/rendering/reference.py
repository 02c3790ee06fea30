"""A plain renderer in torch, for comparison: slow, any float type, every step one readable expression.

Tests hold the real renderers to it in float64; ``lipflow bench`` measures beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.mesh import Topology
from lipflow.rendering.base import RenderOutput, check_inputs


class ReferenceRenderer:
    """Renders what ``Renderer`` describes, by brute force and autograd; see there."""

    def __init__(self, topology: Topology, *, cull: bool = False, near: float = 1.0) -> None:
        self.topology = topology
        self.cull = cull
        self.near = near

    def render(
        self, vertices: Tensor, texture: Tensor, cameras: Camera, *, index: Tensor | None = None
    ) -> RenderOutput:
        """As ``Renderer.render``; ``index`` [B, H, W] spares the search for the triangle of each pixel."""
        check_inputs(self.topology, vertices, texture, cameras)
        cameras = cameras.expand(len(vertices)) if len(cameras) == 1 else cameras
        corners = self._camera_space(vertices, cameras)[:, torch.as_tensor(self.topology.faces).long()]  # [B, F, 3, 3]
        rays = pixel_rays(cameras)
        if index is None:
            K = cameras.K.double()[:, None, None]
            homogeneous = (K @ corners.detach().double()[..., None])[..., 0]
            index = torch.stack([self._nearest_triangles(h, cameras.size) for h in homogeneous])
        covered = index >= 0
        triangle = index.clamp(min=0).long()
        uv = torch.as_tensor(self.topology.uv[self.topology.uv_faces]).to(vertices)
        images, depths = [], []
        for n in range(len(vertices)):
            hits = covered[n]
            # The point of a triangle that the ray meets is z·ray = sum(weight·corner): solve for weight / z.
            weights_over_depth = torch.linalg.solve(corners[n, triangle[n, hits]].transpose(-1, -2), rays[n, hits])
            z = 1 / weights_over_depth.sum(-1)
            point_uv = (weights_over_depth[..., None] * uv[triangle[n, hits]]).sum(-2) * z[..., None]
            grid = torch.stack([2 * point_uv[:, 0] - 1, 1 - 2 * point_uv[:, 1]], dim=-1)
            one = texture[n if len(texture) > 1 else 0][None].to(vertices.dtype)
            colours = torch.nn.functional.grid_sample(
                one, grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
            )[0, :, 0]
            images.append(colours.new_zeros(texture.shape[1], *cameras.size).masked_scatter(hits, colours))
            depths.append(z.new_zeros(cameras.size).masked_scatter(hits, z))
        return RenderOutput(torch.stack(images), covered.to(vertices.dtype), index.int(), torch.stack(depths))

    def _camera_space(self, vertices: Tensor, cameras: Camera) -> Tensor:
        R, t = cameras.R.to(vertices.dtype), cameras.t.to(vertices.dtype)
        return vertices @ R.transpose(-1, -2) + t[:, None]

    def _nearest_triangles(self, corners: Tensor, size: tuple[int, int]) -> Tensor:
        """The triangle of each pixel, [H, W], by trying all; corners [F, 3, 3] in homogeneous pixels, float64."""
        rows, columns = torch.meshgrid(*(torch.arange(n).double() for n in size), indexing="ij")
        best = torch.zeros(size, dtype=torch.float64)
        index = torch.full(size, -1)
        for number, triangle in enumerate(corners):
            det = torch.linalg.det(triangle)
            if not 0 < det.abs() < torch.inf or (self.cull and det > 0):
                continue
            inside = torch.ones(size, dtype=torch.bool)
            nearness = torch.zeros(size, dtype=torch.float64)
            for k in range(3):
                a, b, c = self._edge(number, triangle, k) * det.sign()
                e = (b * rows + c) + a * columns
                owns_its_pixels = bool(a > 0 or (a == 0 and b > 0))  # top and left edges
                inside &= (e > 0) | ((e == 0) & owns_its_pixels)
                nearness += e / det.abs()
            inside &= (nearness > best) & (nearness <= 1 / self.near)
            best[inside], index[inside] = nearness[inside], number
        return index

    def _edge(self, number: int, triangle: Tensor, k: int) -> Tensor:
        """The line opposite corner k; both triangles at an edge see the same numbers, with opposite signs."""
        i, j = (k + 1) % 3, (k + 2) % 3
        if self.topology.faces[number, i] < self.topology.faces[number, j]:
            return torch.linalg.cross(triangle[i], triangle[j])
        return -torch.linalg.cross(triangle[j], triangle[i])


def pixel_rays(cameras: Camera) -> Tensor:
    """For each pixel of B cameras the point of its ray at depth 1, [B, H, W, 3] in the camera frame."""
    rows, columns = torch.meshgrid(*(torch.arange(n).to(cameras.K) for n in cameras.size), indexing="ij")
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1)
    return (torch.linalg.inv(cameras.K)[:, None, None] @ pixels[..., None])[..., 0]
