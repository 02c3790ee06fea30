"""The renderer for the CPU: numba kernels behind one autograd function."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lipflow.camera import Camera
from lipflow.mesh import Topology
from lipflow.rendering import cpu_backward, cpu_kernels, cpu_silhouette
from lipflow.rendering.base import RenderOutput, check_inputs, projection_matrices
from lipflow.rendering.threads import LAYER, worker_count


@dataclass(frozen=True, eq=False)
class MeshTables:
    """What the kernels need to know of a topology; never changed, so threads share it."""

    faces: npt.NDArray[np.int32]  # [F, 3]
    corner_uv: npt.NDArray[np.float32]  # [F, 3, 2] texture column and row in [0, 1], rows counted down
    vertex_count: int

    @staticmethod
    def of(topology: Topology) -> MeshTables:
        corner_uv = topology.uv[topology.uv_faces].astype(np.float32)
        corner_uv[..., 1] = 1 - corner_uv[..., 1]
        faces = np.array(topology.faces, np.int32, order="C")  # a copy: kernels are compiled for writable arrays
        return MeshTables(faces, np.ascontiguousarray(corner_uv), topology.vertex_count)

    @cached_property
    def incident(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The corners (3 · triangle + corner) of each vertex, [3 F], and where each vertex's begin, [V + 1]."""
        corners = self.faces.reshape(-1)
        order = np.argsort(corners, kind="stable").astype(np.int32)
        starts = np.searchsorted(corners[order], np.arange(self.vertex_count + 1)).astype(np.int32)
        return order, starts

    @cached_property
    def twins(self) -> npt.NDArray[np.int32]:
        """Each triangle's edges in the triangles beyond, [3 F] (see ``cpu_silhouette``)."""
        return cpu_silhouette.twin_edges(self.faces)

    @cached_property
    def beyond(self) -> npt.NDArray[np.int32]:
        """The triangle beyond each edge, [3 F] (see ``cpu_silhouette``)."""
        return cpu_silhouette.neighbours(self.faces, self.twins)

    @cached_property
    def _groups(self) -> dict[int, tuple[npt.NDArray[np.int32], ...]]:
        return {}

    def groups(self, T: int) -> tuple[npt.NDArray[np.int32], ...]:
        """Triangles by texture rows for textures of T × T (see ``cpu_backward``)."""
        if T not in self._groups:  # two threads may both compute it: the same arrays
            self._groups[T] = cpu_backward.group_by_texture_rows(self.corner_uv, T)
        return self._groups[T]


@dataclass(frozen=True)
class Settings:
    """How one renderer draws."""

    cull: bool  # leave out triangles that are seen from behind
    near: float  # mm


@dataclass(eq=False)
class Drawing:
    """One call's working arrays, kept for its backward pass (see ``cpu_kernels``)."""

    points: npt.NDArray[np.float64]
    edges: npt.NDArray[np.float64]
    planes: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.int32]
    seen: npt.NDArray[np.uint8]


def draw(
    mesh: MeshTables,
    vertices: npt.NDArray[np.float32],
    projection: npt.NDArray[np.float64],
    textures: npt.NDArray[np.float32],
    size: tuple[int, int],
    settings: Settings,
) -> tuple[Drawing, Tensor, Tensor, Tensor, Tensor]:
    """Run the forward kernels: vertices [B, V, 3], projection [B, 3, 4], textures [B or 1, T, T, C].

    Returns:
        the working arrays, rgb [B, H, W, C], mask, index (int32) and depth [B, H, W].
    """
    views, count, triangles = vertices.shape[0], mesh.vertex_count, len(mesh.faces)
    height, width = size
    bands = -(-height // cpu_kernels.BAND_ROWS)
    points, pixels = np.empty((views, count, 3)), np.empty((views, count, 2))
    cpu_kernels.project(vertices, projection, points, pixels)
    drawing = Drawing(
        points,
        np.empty((views, triangles, 10)),
        np.empty((views, triangles, 11)),
        np.empty((views, triangles, 4), np.int32),
        np.zeros((views, triangles), np.uint8),
    )
    counts = np.empty((views, cpu_kernels.SETUP_CHUNKS, bands), np.int32)
    cpu_kernels.set_up(
        points,
        pixels,
        mesh.faces,
        mesh.corner_uv,
        size,
        settings.near,
        settings.cull,
        drawing.edges,
        drawing.planes,
        drawing.boxes,
        counts,
    )
    # Order of places: view, band, chunk, so that a band's triangles are contiguous and in the order of their numbers.
    ends = np.cumsum(counts.transpose(0, 2, 1), dtype=np.int64).reshape(views, bands, cpu_kernels.SETUP_CHUNKS)
    starts = np.ascontiguousarray((ends - counts.transpose(0, 2, 1)).transpose(0, 2, 1))
    band_starts = np.ascontiguousarray(np.stack([starts[:, 0], ends[:, :, -1]], axis=-1))
    bins = np.empty(int(ends[-1, -1, -1]), np.int32)
    cpu_kernels.fill_bins(drawing.boxes, starts, bins)
    rgb = torch.empty(views, height, width, textures.shape[3])
    mask, depth = torch.empty(views, height, width), torch.empty(views, height, width)
    index = torch.empty(views, height, width, dtype=torch.int32)
    cpu_kernels.draw(
        drawing.edges,
        drawing.planes,
        drawing.boxes,
        bins,
        band_starts,
        mesh.corner_uv,
        textures,
        settings.near,
        worker_count(),
        index.numpy(),
        drawing.seen,
        rgb.numpy(),
        mask.numpy(),
        depth.numpy(),
    )
    return drawing, rgb, mask, index, depth


def draw_backward(
    mesh: MeshTables,
    drawing: Drawing,
    index: npt.NDArray[np.int32],
    textures: npt.NDArray[np.float32],
    grad_rgb: npt.NDArray[np.float32],
    grad_depth: npt.NDArray[np.float32] | None,
    want_texture: bool,
) -> tuple[Tensor, Tensor | None]:
    """Gradients of the homogeneous pixels [B, V, 3] (float64) and of the textures [B or 1, T, T, C]."""
    order, starts = mesh.groups(textures.shape[1])
    regular = len(starts) - 2
    waves = [np.arange(0, regular, 2), np.arange(1, regular, 2), np.arange(regular, regular + 1)]
    if not want_texture:  # nothing is shared: all groups at once
        waves = [np.arange(regular + 1)]
    grad_textures = torch.zeros(textures.shape if want_texture else (1, 1, 1, 1))
    corner_grads = np.empty((*drawing.seen.shape, 3, 3))
    for wave in waves:
        wave = wave[starts[wave + 1] > starts[wave]]
        if len(wave):
            cpu_backward.backward_groups(
                wave.astype(np.int32),
                order,
                starts,
                index,
                drawing.seen,
                drawing.edges,
                drawing.planes,
                drawing.boxes,
                mesh.corner_uv,
                textures,
                grad_rgb,
                np.zeros((1, 1, 1), np.float32) if grad_depth is None else grad_depth,
                grad_depth is not None,
                want_texture,
                worker_count(),
                grad_textures.numpy(),
                corner_grads,
            )
    grad_points = np.empty_like(drawing.points)
    incident, incident_starts = mesh.incident
    cpu_backward.gather_corners(drawing.seen, corner_grads, incident, incident_starts, grad_points)
    return torch.from_numpy(grad_points), grad_textures if want_texture else None


class _Render(torch.autograd.Function):
    """vertices [B, V, 3], projection f64 [B, 3, 4], textures [B or 1, T, T, C] -> rgb, mask, index, depth."""

    @staticmethod
    def forward(
        ctx: Any,
        vertices: Tensor,
        projection: Tensor,
        textures: Tensor,
        mesh: MeshTables,
        size: tuple[int, int],
        settings: Settings,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        drawing, rgb, mask, index, depth = draw(
            mesh, vertices.numpy(), projection.numpy(), textures.numpy(), size, settings
        )
        ctx.mesh, ctx.drawing = mesh, drawing
        ctx.save_for_backward(vertices, projection, textures, index)
        ctx.mark_non_differentiable(mask, index)
        ctx.set_materialize_grads(False)
        return rgb, mask, index, depth

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_rgb: Tensor | None, grad_mask: None, grad_index: None, grad_depth: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        if grad_rgb is None and grad_depth is None:
            return (None,) * 6
        vertices, projection, textures, index = ctx.saved_tensors
        if grad_rgb is None:
            grad_rgb = textures.new_zeros(*index.shape, textures.shape[3])
        grad_points, grad_textures = draw_backward(
            ctx.mesh,
            ctx.drawing,
            index.numpy(),
            textures.numpy(),
            grad_rgb.contiguous().numpy(),
            None if grad_depth is None else grad_depth.contiguous().numpy(),
            ctx.needs_input_grad[2],
        )
        grad_vertices, grad_projection = _through_projection(
            grad_points, vertices, projection, ctx.needs_input_grad[:2]
        )
        return grad_vertices, grad_projection, grad_textures, None, None, None


class _Soften(torch.autograd.Function):
    """Hard rgb [B, H, W, C] and mask [B, H, W] -> the same with smooth silhouettes (see ``cpu_silhouette``)."""

    @staticmethod
    def forward(
        ctx: Any,
        rgb: Tensor,
        mask: Tensor,
        vertices: Tensor,
        projection: Tensor,
        index: Tensor,
        depth: Tensor,
        mesh: MeshTables,
        near: float,
    ) -> tuple[Tensor, Tensor]:
        points, pixels = _projected(vertices, projection)
        pairs = Pairs.find(mesh, index, depth, points, pixels, near)
        ctx.mesh, ctx.pairs = mesh, pairs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(rgb, mask, vertices, projection)
        return pairs.blend(rgb), pairs.blend(mask[..., None])[..., 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_rgb: Tensor | None, grad_mask: Tensor | None) -> tuple[Tensor | None, ...]:
        rgb, mask, vertices, projection = ctx.saved_tensors
        points, pixels = _projected(vertices, projection)
        pairs, grad_points = ctx.pairs, np.zeros_like(points)
        for image, grad in ((rgb, grad_rgb), (mask[..., None], None if grad_mask is None else grad_mask[..., None])):
            if grad is None:
                continue
            cpu_silhouette.blends_backward(
                image.numpy(),
                grad.contiguous().numpy(),
                pairs.counts,
                pairs.places,
                pairs.blends,
                pairs.owners,
                points,
                pixels,
                ctx.mesh.faces,
                grad_points,
            )
        grad_vertices, grad_projection = _through_projection(
            torch.from_numpy(grad_points), vertices, projection, ctx.needs_input_grad[2:4]
        )
        grad_hard = None if grad_rgb is None else pairs.blend(grad_rgb.contiguous(), transposed=True)
        return grad_hard, None, grad_vertices, grad_projection, None, None, None, None


@dataclass(frozen=True, eq=False)
class Pairs:
    """Neighbouring pixels between which a silhouette passes (see ``cpu_silhouette``)."""

    counts: npt.NDArray[np.int32]
    places: npt.NDArray[np.int32]
    blends: npt.NDArray[np.float32]
    owners: npt.NDArray[np.int32]

    @staticmethod
    def find(
        mesh: MeshTables,
        index: Tensor,
        depth: Tensor,
        points: npt.NDArray[np.float64],
        pixels: npt.NDArray[np.float64],
        near: float,
    ) -> Pairs:
        views, height, width = index.shape
        facing = np.empty((views, len(mesh.faces)), np.uint8)
        cpu_silhouette.find_facing(pixels, mesh.faces, facing)
        shape = views, height, 2 * width
        pairs = Pairs(
            np.empty((views, height), np.int32),
            np.empty(shape, np.int32),
            np.empty(shape, np.float32),
            np.empty(shape, np.int32),
        )
        cpu_silhouette.find_blends(
            index.numpy(),
            depth.numpy(),
            points,
            pixels,
            mesh.faces,
            mesh.twins,
            mesh.beyond,
            facing,
            near,
            pairs.counts,
            pairs.places,
            pairs.blends,
            pairs.owners,
        )
        return pairs

    def blend(self, image: Tensor, *, transposed: bool = False) -> Tensor:
        """An image [B, H, W, C] with its pairs blended; or the transpose of that map, for gradients."""
        out = torch.empty_like(image)
        cpu_silhouette.apply_blends(image.numpy(), self.counts, self.places, self.blends, transposed, out.numpy())
        return out


def _projected(vertices: Tensor, projection: Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Homogeneous pixels [B, V, 3] and pixels [B, V, 2] of vertices [B, V, 3]."""
    points, pixels = np.empty(vertices.shape), np.empty((*vertices.shape[:2], 2))
    cpu_kernels.project(vertices.numpy(), projection.numpy(), points, pixels)
    return points, pixels


def _through_projection(
    grad_points: Tensor, vertices: Tensor, projection: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """From the gradient of homogeneous pixels [B, V, 3] to those that are wanted: of the vertices, of the projection
    [B, 3, 4]."""
    grad_vertices = (grad_points @ projection[:, :, :3]).float() if wanted[0] else None
    if not wanted[1]:
        return grad_vertices, None
    homogeneous = torch.nn.functional.pad(vertices.double(), (0, 1), value=1.0)
    return grad_vertices, grad_points.transpose(1, 2) @ homogeneous


class CpuRenderer:
    """Renders on the CPU; see ``Renderer``.

    Textures in ``torch.channels_last`` are read where they are; others are copied once a call. The image comes in
    ``channels_last`` too. Gradients reach vertices, textures and cameras, once (not twice) differentiable. The work is
    done in float32 images and float64 geometry, whatever the inputs' precision.
    """

    def __init__(self, topology: Topology, *, cull: bool = False, near: float = 1.0, silhouette: bool = False) -> None:
        self.topology = topology
        self.silhouette = silhouette
        self._mesh = MeshTables.of(topology)
        self._settings = Settings(bool(cull), float(near))

    def render(self, vertices: Tensor, texture: Tensor, cameras: Camera) -> RenderOutput:
        check_inputs(self.topology, vertices, texture, cameras)
        projection = projection_matrices(cameras, vertices.shape[0])
        vertices = vertices.float().contiguous()
        rgb, mask, index, depth = _Render.apply(
            vertices,
            projection,
            texture.float().permute(0, 2, 3, 1).contiguous(),
            self._mesh,
            cameras.size,
            self._settings,
        )
        if self.silhouette:
            rgb, mask = _Soften.apply(
                rgb, mask, vertices, projection, index, depth.detach(), self._mesh, self._settings.near
            )
        return RenderOutput(rgb.permute(0, 3, 1, 2), mask, index, depth)


def warm_up() -> None:
    """Compile all kernels, or load them from disk, by drawing one triangle."""
    corner = np.array([[0, 1, 2]], np.int32)
    points = np.array([[0, 0], [0, 1], [1, 0]], np.float32)
    renderer = CpuRenderer(Topology(corner, points, corner, 3), silhouette=True)
    vertices = torch.nn.functional.pad(torch.as_tensor(points), (0, 1), value=10.0)[None].requires_grad_()
    camera = Camera(torch.eye(3), torch.eye(3), torch.zeros(3), (2, 2))
    output = renderer.render(vertices, torch.ones(1, 3, 2, 2), camera)
    (output.rgb.sum() + output.depth.sum()).backward()


def name() -> str:
    """A few words on the backend."""
    count = worker_count()
    return f"cpu (numba, {LAYER}, {count} thread{'s' if count != 1 else ''})"
