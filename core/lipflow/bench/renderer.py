"""How fast the CPU renderer draws, beside the plain torch renderer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from lipflow.bench.timing import Measurement, measure_pair
from lipflow.camera import Camera
from lipflow.mesh import Topology
from lipflow.rendering import make_renderer
from lipflow.rendering.reference import ReferenceRenderer

VIEWS = 3
SIZES = ((240, 320), (480, 640))
TEXTURES = (256, 1024)
COLUMNS = ROWS = 86  # 7396 vertices, as many as a tracked head has


def measure(rounds: int = 5) -> dict[str, Measurement]:
    """Forward, and forward + backward to vertices and texture, for each size and texture.

    The reference is told which triangle each pixel shows; finding that is no part of its time.
    """
    results = {}
    for size in SIZES:
        for T in TEXTURES:
            for backward in (False, True):
                step = "forward + backward" if backward else "forward"
                name = f"renderer {size[0]}x{size[1]}x{VIEWS}, texture {T}, {step}"
                own, reference = _workloads(size, T, backward=backward)
                results[name] = measure_pair(own, reference, rounds, name=name, reference_name="plain torch")
    return results


def _workloads(size: tuple[int, int], T: int, *, backward: bool) -> tuple[Callable[[], None], Callable[[], None]]:
    """The same picture through the CPU renderer and through the reference."""
    topology, mesh = head_like_mesh()
    generator = torch.Generator().manual_seed(0)
    vertices = mesh.repeat(VIEWS, 1, 1).requires_grad_(backward)
    texture = torch.rand(1, 3, T, T, generator=generator).contiguous(memory_format=torch.channels_last)
    texture.requires_grad_(backward)
    weights = torch.randn(VIEWS, 3, *size, generator=generator).contiguous(memory_format=torch.channels_last)
    cameras = _cameras(size)
    renderer, reference = make_renderer(topology), ReferenceRenderer(topology)
    index = renderer.render(vertices, texture, cameras).index

    def finish(rgb: torch.Tensor) -> None:
        if backward:
            torch.autograd.grad(rgb, (vertices, texture), weights)

    def draw() -> None:
        finish(renderer.render(vertices, texture, cameras).rgb)

    def draw_plainly() -> None:
        finish(reference.render(vertices, texture, cameras, index=index).rgb)

    return draw, draw_plainly


def _cameras(size: tuple[int, int]) -> Camera:
    eyes = [(400 * math.sin(a), 50.0, 400 * math.cos(a)) for a in (-0.5, 0.0, 0.5)]
    return Camera.stack([Camera.look_at(eye, (0, 0, 0), 1.1 * size[1], size) for eye in eyes])


def head_like_mesh() -> tuple[Topology, torch.Tensor]:
    """An ellipsoid as large as a head and as finely meshed as a tracked one, with uv; vertices [V, 3] mm."""
    u, v = np.meshgrid(np.linspace(0, 1, COLUMNS), np.linspace(0, 1, ROWS))
    # The poles and the seam are open by a hair: no triangle is without area.
    around, down = 2 * np.pi * u, np.pi * (0.001 + 0.998 * v)
    points = np.stack(
        [100 * np.sin(down) * np.sin(around), 130 * np.cos(down), 110 * np.sin(down) * np.cos(around)], -1
    )
    corner = np.arange(COLUMNS * ROWS).reshape(ROWS, COLUMNS)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    uv = np.stack([u, 1 - v], axis=-1).reshape(-1, 2)
    topology = Topology.checked(faces, uv, faces, COLUMNS * ROWS, what="bench mesh")
    return topology, torch.as_tensor(points.reshape(-1, 3), dtype=torch.float32)
