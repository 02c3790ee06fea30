"""The mesh's topology, its texture seams and its landmarks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from lipflow.checks import InputError
from lipflow.files import write_json

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
Points = TypeVar("Points", npt.NDArray[np.float32], npt.NDArray[np.float64])


@dataclass(frozen=True, eq=False)
class Topology:
    """Triangles and texture coordinates, the same for every frame of a capture.

    Texture coordinates follow the OBJ: u to the right, v UP, the square [0, 1]². A texture image [3, T, T] has its
    first row at the TOP (v = 1): texel column = u·T - ½, texel row = (1 - v)·T - ½, texel centres at whole numbers.
    """

    faces: IntArray  # [F, 3] vertex ids, counter-clockwise seen from outside
    uv: FloatArray  # [U, 2]
    uv_faces: IntArray  # [F, 3] ids into uv
    vertex_count: int  # V

    @cached_property
    def split(self) -> SplitMesh:
        """The same mesh with one texture coordinate a vertex, as GL wants it: vertices doubled along seams."""
        pairs = np.stack([self.faces, self.uv_faces], axis=-1).reshape(-1, 2)
        unique, inverse = unique_pairs(pairs)
        return SplitMesh(
            vertex=unique[:, 0].astype(np.int32),
            uv=self.uv[unique[:, 1]],
            faces=inverse.reshape(-1, 3).astype(np.int32),
        )

    @staticmethod
    def from_obj(path: Path) -> tuple[Topology, FloatArray]:
        """Read faces, texture coordinates and vertices [V, 3] of a triangle or quad OBJ with ``f v/vt`` corners.

        Raises:
            InputError: if the file is missing, has no textured faces, or an index points nowhere.
        """
        vertices: list[list[float]] = []
        uv: list[list[float]] = []
        faces: list[list[int]] = []
        uv_faces: list[list[int]] = []
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"mesh {path}", expected="a readable OBJ file", got=error) from error
        for number, line in enumerate(text.splitlines(), 1):
            kind, *fields = line.split() or [""]
            try:
                if kind == "v":
                    x, y, z = (float(field) for field in fields[:3])  # fewer are an error
                    vertices.append([x, y, z])
                elif kind == "vt":
                    across, up = (float(field) for field in fields[:2])
                    uv.append([across, up])
                elif kind == "f":
                    corners = [field.split("/") for field in fields]
                    v, vt = [int(c[0]) - 1 for c in corners], [int(c[1]) - 1 for c in corners]
                    for k in range(1, len(corners) - 1):
                        faces.append([v[0], v[k], v[k + 1]])
                        uv_faces.append([vt[0], vt[k], vt[k + 1]])
            except (ValueError, IndexError) as error:
                raise InputError(
                    f"mesh {path}, line {number}", expected="v x y z, vt u v or f v/vt v/vt v/vt", got=repr(line[:60])
                ) from error
        topology = Topology.checked(faces, uv, uv_faces, len(vertices), what=f"mesh {path}", first=1)
        points = np.asarray(vertices, dtype=np.float32)
        astray = np.flatnonzero(~np.isfinite(points).all(1))
        if len(astray):
            got = f"{points[astray[0]].tolist()} at vertex {astray[0] + 1}"
            raise InputError(f"mesh {path}", expected="finite x y z", got=got)
        return topology, points

    @staticmethod
    def checked(
        faces: object, uv: object, uv_faces: object, vertex_count: int, *, what: str = "topology", first: int = 0
    ) -> Topology:
        """A topology from arrays of unknown origin, with every index checked; people count from ``first``."""
        try:
            f, u, g = np.asarray(faces, np.int32), np.asarray(uv, np.float32), np.asarray(uv_faces, np.int32)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(what, expected="lists of indices and coordinates", got=error) from error
        if f.ndim != 2 or f.shape[1:] != (3,) or not len(f) or g.shape != f.shape or u.ndim != 2 or u.shape[1:] != (2,):
            raise InputError(what, expected="textured triangles (f v/vt)", got=f"{f.shape}, {u.shape}, {g.shape}")
        for name, ids, count in (("vertices", f, vertex_count), ("texture coordinates", g, len(u))):
            astray = np.argwhere((ids < 0) | (ids >= count))
            if len(astray):
                triangle, corner = astray[0]
                got = f"{ids[triangle, corner] + first} in triangle {triangle + 1}"
                raise InputError(what, expected=f"{name} {first} to {count - 1 + first}", got=got)
        unusable = np.flatnonzero(~np.isfinite(u).all(1))
        if len(unusable):
            got = f"{u[unusable[0]].tolist()} as number {unusable[0] + 1}"
            raise InputError(what, expected="finite texture coordinates", got=got)
        return Topology(f, u, g, vertex_count)

    def save_obj(self, path: Path, vertices: FloatArray) -> None:
        """Write ``v``, ``vt``, ``f v/vt`` (the Multiface layout's tracked mesh)."""
        lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in vertices]
        lines += [f"vt {u:.6f} {v:.6f}" for u, v in self.uv]
        corners = np.stack([self.faces, self.uv_faces], -1) + 1
        lines += ["f " + " ".join(f"{v}/{t}" for v, t in corner) for corner in corners]
        path.write_text("\n".join(lines) + "\n")


def unique_pairs(pairs: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each pair of ids (none below 0) of [N, 2] once, in order, [U, 2]; and which of them each is, [N].

    As ``np.unique`` gives them along an axis. That compares rows byte by byte: it takes ten times as long and, unlike
    this, keeps the interpreter from all other threads.
    """
    first, second = pairs[:, 0].astype(np.int64), pairs[:, 1]
    count = int(second.max(initial=0)) + 1
    unique, inverse = np.unique(first * count + second, return_inverse=True)
    return np.stack(np.divmod(unique, count), axis=-1), inverse


@dataclass(frozen=True, eq=False)
class SplitMesh:
    """A mesh for GL: ``vertices[vertex]`` are its positions, S of them."""

    vertex: IntArray  # [S] id of the vertex in the tracked mesh
    uv: FloatArray  # [S, 2], v up
    faces: IntArray  # [F, 3] ids into S


@dataclass(frozen=True)
class Landmarks:
    """The facial landmarks: vertex ids in named groups (jaw, brows, nose, lids, lips), without the iris."""

    ids: tuple[int, ...]  # 136 vertex ids
    names: tuple[str, ...]  # 136 names, e.g. "lips.outer.3", unique
    groups: dict[str, tuple[int, ...]]  # name -> positions in ids
    mirror: tuple[int, ...]  # position of each landmark's mirror image (itself on the midline)

    @property
    def index(self) -> npt.NDArray[np.int64]:
        """``ids`` as numpy takes them, [136]."""
        return np.asarray(self.ids, dtype=np.int64)

    def save(self, path: Path) -> None:
        """Write ``landmarks.json``, atomically."""
        write_json(path, self.to_json())

    @staticmethod
    def load(path: Path, vertex_count: int) -> Landmarks:
        """Read ``landmarks.json``.

        Raises:
            InputError: if a field is missing or an id is not a vertex of the mesh.
        """
        try:
            body = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"landmarks {path}", expected="a JSON file", got=error) from error
        return Landmarks.from_json(body, vertex_count, what=f"landmarks {path}")

    @staticmethod
    def from_json(body: object, vertex_count: int, *, what: str = "landmarks") -> Landmarks:
        """What ``to_json`` made, of unknown origin: every field and id is checked."""
        if not isinstance(body, dict):
            raise InputError(what, expected="an object with ids, names, groups and mirror", got=type(body).__name__)
        try:
            marks = Landmarks(
                tuple(int(i) for i in body["ids"]),
                tuple(str(n) for n in body["names"]),
                {str(k): tuple(int(i) for i in v) for k, v in body["groups"].items()},
                tuple(int(i) for i in body["mirror"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(what, expected="ids, names, groups and mirror", got=repr(error)) from error
        n = len(marks.ids)
        inside = all(0 <= i < vertex_count for i in marks.ids)
        positions = [*marks.mirror, *(i for group in marks.groups.values() for i in group)]
        if not (n and inside and len(marks.names) == n == len(marks.mirror) and all(0 <= i < n for i in positions)):
            raise InputError(what, expected=f"consistent lists of vertex ids below {vertex_count}", got=f"{n} ids")
        return marks

    def to_json(self) -> dict[str, object]:
        return {
            "ids": list(self.ids),
            "names": list(self.names),
            "groups": {k: list(v) for k, v in self.groups.items()},
            "mirror": list(self.mirror),
        }


def vertex_normals(vertices: Points, faces: npt.NDArray[np.integer]) -> Points:
    """Unit normals [V, 3] of a mesh's vertices [V, 3], outwards where its triangles [F, 3] are counter-clockwise seen
    from outside. Larger triangles count more; a vertex of none has none: 0."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    total, cross = np.zeros_like(vertices), np.cross(b - a, c - a)
    for k in range(3):
        np.add.at(total, faces[:, k], cross)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def similarity_align(
    source: npt.NDArray[np.floating], target: npt.NDArray[np.floating], weights: npt.NDArray[np.floating] | None = None
) -> tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scale, rotation [3, 3] and translation [3] with ``target ≈ scale · source @ R.T + t`` (Umeyama 1991), for points
    [N, 3] of which each counts by its weight [N] of at least 0; without weights all count alike."""
    w = np.ones(len(source)) if weights is None else weights
    w = w / w.sum()
    mu_s, mu_t = w @ source, w @ target
    s, t = source - mu_s, target - mu_t
    u, d, vt = np.linalg.svd((t * w[:, None]).T @ s)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    R = (u * flip) @ vt
    scale = float((d * flip).sum() / (w @ (s**2).sum(1)))
    return scale, R, mu_t - scale * R @ mu_s
