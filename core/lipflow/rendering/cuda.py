"""The renderer for NVIDIA GPUs, over nvdiffrast (Laine et al. 2020), with the same conventions as the CPU's.

nvdiffrast compiles its kernels on first use, with the CUDA toolkit's compiler and ninja; it is the extra ``[cuda]``.
Silhouettes differ a little from the CPU's: nvdiffrast smooths only where the edge belongs to the very triangle that a
pixel shows. Tests hold the two backends together where a GPU is present.
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.checks import InputError
from lipflow.mesh import Topology
from lipflow.rendering.base import RenderOutput, check_inputs, projection_matrices

LARGEST_TILE = 2048  # pixels a side that nvdiffrast draws at once
LARGEST_BATCH = 64  # meshes that are drawn at once


def _nvdiffrast() -> ModuleType:
    try:
        import nvdiffrast.torch as dr
    except ImportError as error:
        raise InputError(
            "renderer for the GPU",
            expected="the package nvdiffrast",
            got=error,
            mend="pip install 'lipflow-studio[cuda]', or use the device cpu",
        ) from error
    return dr


def _new_context(dr: Any, device: torch.device) -> Any:
    """A rasteriser; compiles nvdiffrast's kernels the first time (about a minute)."""
    try:
        return dr.RasterizeCudaContext(device=device)
    except ModuleNotFoundError as error:
        # nvdiffrast 0.3.3 imports what it has just built by its name, which newer torch no longer makes importable.
        name = error.name or ""
        if not name.startswith("nvdiffrast_plugin"):
            raise
    from torch.utils import cpp_extension

    folder = cpp_extension._get_build_directory(name, False)
    sys.modules[name] = cpp_extension._import_module_from_library(name, folder, True)
    return dr.RasterizeCudaContext(device=device)


class CudaRenderer:
    """Renders on one GPU; see ``Renderer``. Images larger than 2048 pixels a side are drawn in tiles."""

    def __init__(
        self,
        topology: Topology,
        *,
        device: torch.device,
        cull: bool = False,
        near: float = 1.0,
        silhouette: bool = False,
    ) -> None:
        if device.type != "cuda" or not torch.cuda.is_available():
            raise InputError("renderer", expected="the device cpu, or cuda with an NVIDIA GPU", got=device)
        self.topology = topology
        self.cull, self.near, self.silhouette = bool(cull), float(near), bool(silhouette)
        self._dr: Any = _nvdiffrast()
        self._device = device
        self._faces = torch.as_tensor(topology.faces, device=device).long()
        self._uv_faces = torch.as_tensor(topology.uv_faces, device=device).int()
        flip = torch.tensor([1.0, -1.0], device=device)
        self._uv = torch.as_tensor(topology.uv, device=device) * flip + (1 - flip) / 2  # rows counted down
        self._own = threading.local()  # nvdiffrast's context may serve one thread only

    @property
    def _context(self) -> Any:
        if not hasattr(self._own, "context"):
            self._own.context = _new_context(self._dr, self._device)
        return self._own.context

    def render(self, vertices: Tensor, texture: Tensor, cameras: Camera) -> RenderOutput:
        check_inputs(self.topology, vertices, texture, cameras)
        count = len(vertices)
        projection = projection_matrices(cameras, count)
        homogeneous = vertices.double() @ projection[..., :3].transpose(1, 2) + projection[:, None, :, 3]
        texels = texture.float().permute(0, 2, 3, 1).contiguous()  # [B or 1, T, T, C]
        pieces = []
        for first in range(0, count, LARGEST_BATCH):
            some = slice(first, first + LARGEST_BATCH)
            pieces.append(
                self._draw_tiles(homogeneous[some], texels if len(texels) == 1 else texels[some], cameras.size)
            )
        rgb, mask, index, depth = (torch.cat(parts) for parts in zip(*pieces))
        return RenderOutput(rgb.permute(0, 3, 1, 2), mask, index, depth)

    def _draw_tiles(self, homogeneous: Tensor, texels: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        """rgb [B, H, W, C], mask, index and depth [B, H, W], from tiles that overlap by a pixel for the silhouettes."""
        rows = []
        for top in range(0, size[0], LARGEST_TILE - 2):
            row = []
            for left in range(0, size[1], LARGEST_TILE - 2):
                row.append(self._draw_tile(homogeneous, texels, size, top, left))
            rows.append([torch.cat(parts, dim=2) for parts in zip(*row)])
        return tuple(torch.cat(parts, dim=1) for parts in zip(*rows))

    def _draw_tile(
        self, homogeneous: Tensor, texels: Tensor, size: tuple[int, int], top: int, left: int
    ) -> tuple[Tensor, ...]:
        """What ``_draw_tiles`` returns, for up to 2046² pixels from (top, left)."""
        inner = min(size[0] - top, LARGEST_TILE - 2), min(size[1] - left, LARGEST_TILE - 2)
        before = min(top, 1), min(left, 1)
        after = min(size[0] - top - inner[0], 1), min(size[1] - left - inner[1], 1)
        outer = inner[0] + before[0] + after[0], inner[1] + before[1] + after[1]
        images = self._draw(homogeneous, texels, outer, (top - before[0], left - before[1]))
        crop_y, crop_x = slice(before[0], before[0] + inner[0]), slice(before[1], before[1] + inner[1])
        return tuple(image[:, crop_y, crop_x] for image in images)

    def _clip_space(self, homogeneous: Tensor, size: tuple[int, int], offset: tuple[int, int]) -> Tensor:
        """GL's clip coordinates [B, V, 4] of a window of ``size`` pixels at ``offset`` (row, column).

        Rows are not flipped: nvdiffrast's first row is GL's lowest, and ours is drawn there. Depth is spread over what
        is there, since its steps grow with the square of the distance.
        """
        height, width = size
        x, y, z = homogeneous.unbind(-1)
        x, y = (2 * (x - offset[1] * z) + z) / width - z, (2 * (y - offset[0] * z) + z) / height - z
        finite = z.detach().nan_to_num(self.near, self.near, self.near)
        near = finite.amin(1, keepdim=True).mul(0.99).clamp(min=self.near)
        far = torch.maximum(finite.amax(1, keepdim=True) * 1.01, near * 1.01)
        depth = ((far + near) * z - 2 * far * near) / (far - near)
        return torch.stack([x, y, depth, z], dim=-1).float().contiguous()

    def _triangles(self, homogeneous: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The triangles to draw: their corners in the flattened batch [n, 3], their numbers [n], (first, count) [B, 2].

        Triangles with a corner that is no number are left out; nvdiffrast would not return from some.
        """
        vertices = homogeneous.shape[1]
        corners = homogeneous.detach()[:, self._faces]  # [B, F, 3, 3]
        drawn = corners.isfinite().flatten(2).all(-1)
        if self.cull:
            drawn &= torch.linalg.det(corners) < 0
        view, number = drawn.nonzero(as_tuple=True)
        per_view = drawn.sum(1).cpu()
        ranges = torch.stack([per_view.cumsum(0) - per_view, per_view], dim=1).int()
        return (self._faces[number] + (view * vertices)[:, None]).int().contiguous(), number, ranges

    def _draw(
        self, homogeneous: Tensor, texels: Tensor, size: tuple[int, int], offset: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """rgb [B, H, W, C], mask, index and depth [B, H, W] of one window."""
        dr = self._dr
        corners, numbers, ranges = self._triangles(homogeneous)
        if len(numbers) == 0:
            return self._nothing(homogeneous, texels, size)
        clip = self._clip_space(homogeneous, size, offset).flatten(0, 1)
        raster, _ = dr.rasterize(self._context, clip, corners, resolution=size, ranges=ranges, grad_db=False)
        uv, _ = dr.interpolate(self._uv, raster, self._uv_faces[numbers].contiguous())
        depth, _ = dr.interpolate(clip[:, 3:].contiguous(), raster, corners)
        place = raster[..., 3].detach().long() - 1
        index = torch.where(place >= 0, numbers[place.clamp(min=0)], -1).int()
        covered = (index >= 0).float()[..., None]
        rgb = dr.texture(texels, uv.contiguous(), filter_mode="linear", boundary_mode="clamp") * covered
        image = torch.cat([rgb, covered], dim=-1)
        if self.silhouette:
            image = dr.antialias(image.contiguous(), raster, clip, corners)
        return image[..., :-1], image[..., -1], index, (depth * covered)[..., 0]

    def _nothing(self, homogeneous: Tensor, texels: Tensor, size: tuple[int, int]) -> tuple[Tensor, ...]:
        empty = homogeneous.new_zeros(len(homogeneous), *size, dtype=torch.float32)
        rgb = empty[..., None].expand(*empty.shape, texels.shape[-1])
        return rgb, empty, torch.full_like(empty, -1).int(), empty


def name() -> str:
    """A few words on the backend."""
    _nvdiffrast()
    return f"cuda (nvdiffrast, {torch.cuda.get_device_name()})" if torch.cuda.is_available() else "cuda (no GPU found)"
