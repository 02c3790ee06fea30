"""Small meshes and cameras that the renderer's tests share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lipflow.camera import Camera
from lipflow.mesh import Topology


def ellipsoid(columns: int, rows: int) -> tuple[Topology, Tensor]:
    """A closed ellipsoid, 200 × 260 × 220 mm, unwrapped like a map with one seam; vertices [V, 3]."""
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    down = np.linspace(0, np.pi, rows)[1:-1]
    ring = [[100 * np.sin(p) * np.sin(a), 130 * np.cos(p), 110 * np.sin(p) * np.cos(a)] for p in down for a in around]
    vertices = [[0, 130, 0], *ring, [0, -130, 0]]
    poles_u = [(i + 0.5) / columns for i in range(columns)]
    uv = [[u, 1] for u in poles_u] + [[i / columns, 1 - p / np.pi] for p in down for i in range(columns + 1)]
    uv += [[u, 0] for u in poles_u]

    def vertex(row: int, i: int) -> int:
        return 1 + row * columns + i % columns

    def texture_vertex(row: int, i: int) -> int:
        return columns + row * (columns + 1) + i

    faces, uv_faces = [], []
    last = len(down) - 1
    for i in range(columns):
        faces.append([0, vertex(0, i), vertex(0, i + 1)])
        uv_faces.append([i, texture_vertex(0, i), texture_vertex(0, i + 1)])
        for row in range(last):
            for corner, target in ((vertex, faces), (texture_vertex, uv_faces)):
                a, b, c, d = corner(row, i), corner(row + 1, i), corner(row + 1, i + 1), corner(row, i + 1)
                target += [[a, b, c], [a, c, d]]
        faces.append([vertex(last, i), len(vertices) - 1, vertex(last, i + 1)])
        uv_faces.append(
            [texture_vertex(last, i), columns + (last + 1) * (columns + 1) + i, texture_vertex(last, i + 1)]
        )
    return Topology.checked(faces, uv, uv_faces, len(vertices)), torch.tensor(vertices, dtype=torch.float32)


def cameras_around(count: int, size: tuple[int, int], distance: float = 330.0) -> Camera:
    """Cameras before the ellipsoid, from its left to its right."""
    angles = torch.linspace(-0.6, 0.6, count).tolist()
    eyes = [(distance * np.sin(a), 50.0, distance * np.cos(a)) for a in angles]
    return Camera.stack([Camera.look_at(eye, (0, 0, 0), 1.2 * size[1], size) for eye in eyes])


def crossing_camera(size: tuple[int, int]) -> Camera:
    """A camera just outside the ellipsoid: some of its triangles reach behind the camera."""
    return Camera.look_at((20, 30, 112), (0, 0, -40), 0.4 * size[1], size)


def flat_camera(size: tuple[int, int]) -> Camera:
    """Pixel (column, row) sees the point (column, row) of the plane z = 1."""
    return Camera(torch.eye(3), torch.eye(3), torch.zeros(3), size)


def plane(points: list[list[float]], faces: list[list[int]]) -> tuple[Topology, Tensor]:
    """Triangles in the plane at 100 mm depth of ``flat_camera``, corners given in pixels; uv = pixels / 10."""
    xy = torch.tensor(points, dtype=torch.float32)
    uv = torch.stack([xy[:, 0] / 10, 1 - xy[:, 1] / 10], dim=1).numpy()
    vertices = torch.cat([xy * 100, torch.full((len(xy), 1), 100.0)], dim=1)
    return Topology.checked(faces, uv, faces, len(points)), vertices
