"""Drawing textured meshes, with gradients: one protocol (``Renderer``), a CPU and a GPU backend."""

from __future__ import annotations

import torch

from lipflow.mesh import Topology
from lipflow.rendering.base import Renderer, RenderOutput, render_smoothly

__all__ = ["RenderOutput", "Renderer", "make_renderer", "render_smoothly", "renderer_name", "warm_up"]


def make_renderer(
    topology: Topology,
    *,
    device: torch.device | str = "cpu",
    cull: bool = False,
    near: float = 1.0,
    silhouette: bool = False,
) -> Renderer:
    """The renderer for a device.

    Args:
        topology: of all meshes that it will draw.
        device: where vertices, textures and cameras will be.
        cull: leave out triangles seen from behind; changes nothing on a closed mesh, and is faster.
        near: mm in front of the camera from where on things are seen.
        silhouette: smooth the edges of silhouettes, so that gradients move them.

    Raises:
        InputError: if the device's backend is not installed.
    """
    if torch.device(device).type == "cpu":
        from lipflow.rendering.cpu import CpuRenderer  # numba is imported only where something is drawn with it

        return CpuRenderer(topology, cull=cull, near=near, silhouette=silhouette)
    from lipflow.rendering.cuda import CudaRenderer

    return CudaRenderer(topology, device=torch.device(device), cull=cull, near=near, silhouette=silhouette)


def renderer_name(device: torch.device | str = "cpu") -> str:
    """A few words on what draws on a device, for reports and status bars."""
    if torch.device(device).type == "cpu":
        from lipflow.rendering import cpu

        return cpu.name()
    from lipflow.rendering import cuda

    return cuda.name()


def warm_up() -> None:
    """Compile the CPU's kernels or load them from disk; may run in the background while others render."""
    from lipflow.rendering import cpu

    cpu.warm_up()
