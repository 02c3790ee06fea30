"""A complete capture in the Multiface layout, small enough to write in a second: an ellipsoid with a nose.

It needs no head rig and no renderer: the photos are painted by splatting dense samples of the surface, so that what
the tests compare with comes from other code than the code under test.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float64]

SEGMENTS = ("E001_Neutral", "E002_Smile", "E003_Brows", "E004_Jaw", "EXP_ROM", "EXP_free_face")
SPLIT = {"train": list(SEGMENTS[:3]), "val": ["E004_Jaw"], "test": list(SEGMENTS[4:])}
CAMERAS = {"400001": (0.0, 0.0), "400002": (-40.0, 5.0), "400003": (40.0, 5.0), "400004": (8.0, -30.0)}
_EXPRESSIONS = 4  # smile, brows, jaw, and a flush that no vertex shows


@dataclass(frozen=True, eq=False)
class _Head:
    vertices: Array  # [V, 3] mm, neutral
    modes: Array  # [E, V, 3] mm
    faces: npt.NDArray[np.int64]  # [F, 3]
    uv: Array  # [U, 2]
    uv_faces: npt.NDArray[np.int64]  # [F, 3]
    columns: int
    rows: int


def write_tiny_capture(
    root: Path,
    *,
    vertices: int = 400,
    frames: int = 24,
    texture: int = 32,
    photo: tuple[int, int] = (48, 32),
    seed: int = 0,
    split: bool = True,
    statistics: bool = True,
    masks: bool = True,
    landmarks: bool = True,
) -> Path:
    """Write a capture of about ``vertices`` vertices and ``frames`` frames (spread over six segments) into ``root``.

    The four cameras stand 900 mm away: frontal, two obliques, one below. ``photo`` is height, width in pixels. What
    the layout makes optional can be left out. The same arguments write the same files. Returns ``root``.
    """
    rng = np.random.default_rng(seed)
    head = _head(vertices)
    root.mkdir(parents=True, exist_ok=True)
    cameras = {name: _camera(azimuth, elevation, photo) for name, (azimuth, elevation) in CAMERAS.items()}
    (root / "KRT").write_text("".join(_krt_block(name, *camera) for name, camera in cameras.items()))
    paint = _Paint.random(rng)
    all_vertices, all_textures, listing = [], [], []
    for index in range(frames):
        segment = SEGMENTS[index * len(SEGMENTS) // frames]
        number = 100 + 3 * index  # frame numbers skip, as they do in real captures
        listing.append(f"{segment} {number:06d}")
        weights = _weights(segment, index, frames)
        mesh = head.vertices + np.einsum("e,evc->vc", weights, head.modes)
        pose = _head_pose(index)
        views = {name: _view(K, Rt, pose) for name, (K, Rt) in cameras.items()}
        textures = {name: paint.texture(weights, view, texture, visible_only=True) for name, view in views.items()}
        average = paint.texture(weights, None, texture, visible_only=False)
        _write_mesh(root, head, segment, number, mesh, pose, with_obj=index == 0)
        for name, (K, Rt) in cameras.items():
            _save(root / "unwrapped_uv_1024" / segment / name / f"{number:06d}.png", textures[name])
            full = paint.texture(weights, views[name], max(texture, 64), visible_only=False)
            picture, mask = _splat(head, mesh, full, K, Rt, pose, photo)
            _save(root / "images" / segment / name / f"{number:06d}.png", picture)
            if masks:
                _save(root / "masks" / segment / name / f"{number:06d}.png", mask.astype(np.float64))
        _save(root / "unwrapped_uv_1024" / segment / "average" / f"{number:06d}.png", average)
        all_vertices.append(mesh)
        all_textures.append(average)
    (root / "frame_list.txt").write_text("\n".join(listing) + "\n")
    if statistics:
        _write_statistics(root, np.stack(all_vertices), np.stack(all_textures))
    if split:
        body = {"full": {**SPLIT, "visual": [SEGMENTS[4], SEGMENTS[5]]}}
        (root / "split.json").write_text(json.dumps(body, indent=1) + "\n")
    if landmarks:
        (root / "landmarks.json").write_text(json.dumps(_landmarks(head)) + "\n")
    return root


def _head(wanted: int) -> _Head:
    """Rings of an ellipsoid between two poles; column ``columns / 2`` is the midline of the face."""
    columns = max(8, 2 * round(math.sqrt(wanted) / 2))
    rows = max(5, (wanted - 2) // columns)
    latitude = np.pi * (np.arange(1, rows + 1) / (rows + 1))  # from the crown down
    turn = 2 * np.pi * np.arange(columns) / columns - np.pi  # longitude, 0 = front
    turn = turn - 0.45 * np.sin(turn)  # denser in front
    ring = np.stack(np.meshgrid(latitude, turn, indexing="ij"), -1).reshape(-1, 2)
    direction = np.stack(
        [np.sin(ring[:, 0]) * np.sin(ring[:, 1]), np.cos(ring[:, 0]), np.sin(ring[:, 0]) * np.cos(ring[:, 1])], -1
    )
    direction = np.concatenate([direction, [[0, 1, 0], [0, -1, 0]]])
    points = direction * [72.0, 110.0, 88.0]
    x, y, z = points.T
    front = z > 0
    points[:, 2] += front * 18 * np.exp(-((x / 13) ** 2) - ((y + 5) / 22) ** 2)  # nose
    bump = lambda cx, cy, s: front * np.exp(-((np.abs(x) - cx) ** 2 + (y - cy) ** 2) / s**2)  # noqa: E731
    zero = np.zeros_like(x)
    smile = np.stack([np.sign(x) * 7 * bump(22, -42, 18), 8 * bump(24, -42, 18), 2 * bump(30, -25, 18)], -1)
    brows = np.stack([zero, 8 * bump(25, 42, 22), zero], -1)
    jaw = np.stack([zero, -14 * front * np.clip((-35 - y) / 40, 0, 1), -4 * front * np.clip((-35 - y) / 40, 0, 1)], -1)
    modes = np.stack([smile, brows, jaw, np.zeros_like(smile)])

    grid = np.arange(rows * columns).reshape(rows, columns)
    beside = np.roll(grid, -1, axis=1)
    a, b, c, d = grid[:-1], grid[1:], beside[1:], beside[:-1]  # down is row + 1, to the viewer's right is column + 1
    top, bottom = rows * columns, rows * columns + 1
    faces = np.concatenate(
        [
            np.stack([a, b, c], -1).reshape(-1, 3),
            np.stack([a, c, d], -1).reshape(-1, 3),
            np.stack([np.full(columns, top), grid[0], beside[0]], -1),
            np.stack([np.full(columns, bottom), beside[-1], grid[-1]], -1),
        ]
    )
    # One more texture column than mesh columns: the seam runs down the back of the head. The poles are lines.
    u = 0.06 + 0.88 * np.arange(columns + 1) / columns
    v = 0.94 - 0.88 * np.arange(rows + 2) / (rows + 1)
    uv = np.stack(
        [np.broadcast_to(u, (rows + 2, columns + 1)), np.broadcast_to(v[:, None], (rows + 2, columns + 1))], -1
    )
    corner = np.arange((rows + 2) * (columns + 1)).reshape(rows + 2, columns + 1)
    inner, left, right = corner[1:-1], np.s_[:, :-1], np.s_[:, 1:]
    uv_faces = np.concatenate(
        [
            np.stack([inner[:-1][left], inner[1:][left], inner[1:][right]], -1).reshape(-1, 3),
            np.stack([inner[:-1][left], inner[1:][right], inner[:-1][right]], -1).reshape(-1, 3),
            np.stack([corner[0, :-1], corner[1, :-1], corner[1, 1:]], -1),
            np.stack([corner[-1, :-1], corner[-2, 1:], corner[-2, :-1]], -1),
        ]
    )
    return _Head(points, modes, faces, uv.reshape(-1, 2), uv_faces, columns, rows)


@dataclass(frozen=True, eq=False)
class _Paint:
    """Smooth colours over the texture square, moved by the expression and by the view."""

    waves: Array  # [N, 2] cycles over the square
    phases: Array  # [N]
    colours: Array  # [N, 3]

    @staticmethod
    def random(rng: np.random.Generator) -> _Paint:
        return _Paint(rng.uniform(-3, 3, (6, 2)), rng.uniform(0, 2 * np.pi, 6), rng.uniform(-0.06, 0.06, (6, 3)))

    def texture(self, weights: Array, view: Array | None, size: int, *, visible_only: bool) -> Array:
        """[3, T, T] linear, row 0 at v = 1; texels outside the chart (and unseen ones, if asked) are exactly 0."""
        centre = (np.arange(size) + 0.5) / size
        u, v = np.meshgrid(centre, 1 - centre)
        s, r = (u - 0.06) / 0.88, (0.94 - v) / 0.88
        wave = np.cos(2 * np.pi * (self.waves[:, 0, None, None] * s + self.waves[:, 1, None, None] * r)
                      + self.phases[:, None, None])  # fmt: skip
        image = 0.38 + np.einsum("nij,nc->cij", wave, self.colours) + np.array([0.14, 0.0, -0.08])[:, None, None]
        face = np.exp(-(((s - 0.5) / 0.16) ** 2) - ((r - 0.55) / 0.2) ** 2)
        mouth = np.exp(-(((s - 0.5) / 0.07) ** 2) - ((r - 0.66) / 0.03) ** 2)
        eyes = np.exp(-(((np.abs(s - 0.5) - 0.07) / 0.03) ** 2) - ((r - 0.4) / 0.03) ** 2)
        flush = np.array([0.12, -0.06, -0.06])[:, None, None] * weights[3] * face
        dark = 1 - 0.75 * weights[2] * mouth - 0.6 * eyes + 0.15 * weights[0] * mouth
        image = (image + flush) * dark
        turn = 2 * np.pi * s - np.pi
        turn = turn - 0.45 * np.sin(turn)
        tilt = np.pi * r
        normal = np.stack([np.sin(tilt) * np.sin(turn), np.cos(tilt), np.sin(tilt) * np.cos(turn)])
        if view is not None:
            facing = np.einsum("cij,c->ij", normal, view)
            image = image + 0.1 * np.clip(facing, 0, 1) ** 8
            if visible_only:
                image = image * (facing > 0.05)
        inside = (s > -0.035) & (s < 1.035) & (r > -0.035) & (r < 1.035)
        return np.clip(image, 0.004, 1) * inside * (image.max(0) > 0)


def _weights(segment: str, index: int, frames: int) -> Array:
    phase = 2 * np.pi * index * len(SEGMENTS) / frames
    wave = 0.5 + 0.5 * np.sin(phase + np.arange(_EXPRESSIONS))
    alone = {
        "E001_Neutral": [0, 0, 0, 1],
        "E002_Smile": [1, 0, 0, 1],
        "E003_Brows": [0, 1, 0, 1],
        "E004_Jaw": [0, 0, 1, 1],
    }
    return wave * np.array(alone.get(segment, [1, 1, 1, 1]), dtype=np.float64)


def _head_pose(index: int) -> Array:
    """Head -> world [3, 4]: a few degrees and millimetres about a place far from the world's origin."""
    a, b = 0.06 * math.sin(0.9 * index), 0.04 * math.cos(1.3 * index)
    yaw = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    pitch = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    t = np.array([15.0 + 3 * math.sin(index), -20.0 + 2 * math.cos(index), 40.0])
    return np.concatenate([yaw @ pitch, t[:, None]], 1)


def _camera(azimuth: float, elevation: float, photo: tuple[int, int]) -> tuple[Array, Array]:
    """K [3, 3] and world -> camera [3, 4] of a camera 900 mm from the head's usual place."""
    a, e = math.radians(azimuth), math.radians(elevation)
    centre = np.array([15.0, -20.0, 40.0])
    eye = centre + 900 * np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    forward = (centre - eye) / np.linalg.norm(centre - eye)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    focal = 900 * min(photo[0] / 290, photo[1] / 210)
    K = np.array([[focal, 0, (photo[1] - 1) / 2 + 0.4], [0, focal, (photo[0] - 1) / 2 - 0.3], [0, 0, 1]])
    return K, np.concatenate([R, (-R @ eye)[:, None]], 1)


def _krt_block(name: str, K: Array, Rt: Array) -> str:
    rows = [" ".join(f"{x:.8g}" for x in row) for row in [*K, np.zeros(5), *Rt]]
    return "\n".join([name, *rows]) + "\n\n"


def _view(K: Array, Rt: Array, pose: Array) -> Array:
    centre = pose[:, :3].T @ (-Rt[:, :3].T @ Rt[:, 3] - pose[:, 3])
    return centre / np.linalg.norm(centre)


def _splat(
    head: _Head, mesh: Array, texture: Array, K: Array, Rt: Array, pose: Array, photo: tuple[int, int]
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Paint dense samples of every triangle that faces the camera, far ones first."""
    corners = mesh[head.faces] @ pose[:, :3].T + pose[:, 3]
    seen = corners @ Rt[:, :3].T + Rt[:, 3]
    edges = np.linalg.norm(seen - np.roll(seen, 1, axis=1), axis=-1) / seen[..., 2] * K[0, 0]
    n = math.ceil(2 * edges.max()) + 2  # two samples a pixel leave no holes
    steps = np.array([(i, j, n - 1 - i - j) for i in range(n) for j in range(n - i)]) / (n - 1)
    outwards = np.cross(seen[:, 1] - seen[:, 0], seen[:, 2] - seen[:, 0])
    facing = (outwards * seen[:, 0]).sum(-1) < 0
    points = np.einsum("sk,fkc->fsc", steps, seen[facing]).reshape(-1, 3)
    uv = np.einsum("sk,fkc->fsc", steps, head.uv[head.uv_faces[facing]]).reshape(-1, 2)
    pixel = np.rint((points @ K.T)[:, :2] / points[:, 2:]).astype(int)
    height, width = photo
    inside = (pixel >= 0).all(1) & (pixel[:, 0] < width) & (pixel[:, 1] < height)
    order = np.argsort(-points[:, 2], kind="stable")
    order = order[inside[order]]
    size = texture.shape[1]
    column = np.clip(np.rint(uv[order, 0] * size - 0.5), 0, size - 1).astype(int)
    row = np.clip(np.rint((1 - uv[order, 1]) * size - 0.5), 0, size - 1).astype(int)
    picture, mask = np.full((3, height, width), 0.02), np.zeros((height, width), dtype=bool)
    picture[:, pixel[order, 1], pixel[order, 0]] = texture[:, row, column]
    mask[pixel[order, 1], pixel[order, 0]] = True
    return picture, mask


def _landmarks(head: _Head) -> dict[str, object]:
    """136 landmarks with mirror images: the vertices of the face nearest to a drawn face, pairs on both sides."""
    middle = head.columns // 2
    used: set[int] = set()
    ids: list[int] = []
    names: list[str] = []
    groups: dict[str, list[int]] = {}
    mirror: list[int] = []

    def nearest(x: float, y: float, candidates: npt.NDArray[np.int64]) -> int:
        free = [c for c in candidates if c not in used] or list(candidates)
        distance = ((head.vertices[free][:, :2] - [x, y]) ** 2).sum(1)
        return int(free[int(distance.argmin())])

    grid = np.arange(head.rows * head.columns).reshape(head.rows, head.columns)
    quarter = head.columns // 4
    right_side, midline = grid[:, middle + 1 : middle + quarter + 3].reshape(-1), grid[:, middle]

    def add(group: str, x: float, y: float) -> None:
        on_midline = x == 0
        chosen = nearest(x, y, midline if on_midline else right_side)
        row, column = divmod(chosen, head.columns)
        pair = [chosen] if on_midline else [chosen, row * head.columns + 2 * middle - column]
        first = len(ids)
        for k, vertex in enumerate(pair):
            groups.setdefault(group, []).append(len(ids))
            names.append(f"{group}.{len(groups[group]) - 1}")
            mirror.append(first + len(pair) - 1 - k)
            ids.append(vertex)
            used.add(vertex)

    circle = [math.pi * k / 9 for k in range(1, 9)]
    for k in range(10):
        angle = 2 * math.pi * k / 10
        add("lids", 25 + 14 * math.cos(angle), 22 + 7 * math.sin(angle))
        add("lids", 25 + 20 * math.cos(angle), 22 + 11 * math.sin(angle))
    for radius, height in ((24, 11), (15, 5)):
        add("lips", 0, -45 + height)
        add("lips", 0, -45 - height)
        for angle in [*circle, 4.5 * math.pi / 9]:
            add("lips", radius * math.sin(angle), -45 + height * math.cos(angle))
    for k in range(5):
        add("nose", 0, 20 - 9 * k)
    for k in range(7):
        add("nose", 12, 16 - 6 * k)
    for k in range(10):
        add("brows", 8 + 4 * k, 42 + 4 * math.sin(math.pi * k / 9))
    add("jaw", 0, -100)
    for k in range(8):
        add("jaw", 12 + 7 * k, -95 + 9 * k)
    return {"ids": ids, "names": names, "groups": groups, "mirror": mirror}


def _write_mesh(
    root: Path, head: _Head, segment: str, number: int, mesh: Array, pose: Array, *, with_obj: bool
) -> None:
    folder = root / "tracked_mesh" / segment
    folder.mkdir(parents=True, exist_ok=True)
    mesh.astype("<f4").tofile(folder / f"{number:06d}.bin")
    rows = "\n".join(" ".join(f"{x:.8f}" for x in row) for row in pose)
    (folder / f"{number:06d}_transform.txt").write_text(rows + "\n")
    if with_obj:
        lines = ["v {:.5f} {:.5f} {:.5f}".format(*p) for p in mesh] + ["vt {:.6f} {:.6f}".format(*p) for p in head.uv]
        corners = np.stack([head.faces, head.uv_faces], -1) + 1
        lines += ["f " + " ".join(f"{v}/{t}" for v, t in corner) for corner in corners]
        (folder / f"{number:06d}.obj").write_text("\n".join(lines) + "\n")


def _write_statistics(root: Path, vertices: Array, textures: Array) -> None:
    mean = vertices.mean(0)
    mean.astype("<f4").tofile(root / "vert_mean.bin")
    (root / "vert_var.txt").write_text(f"{((vertices - mean) ** 2).mean():.8g}\n")
    texture_mean = textures.mean(0)
    _save(root / "tex_mean.png", texture_mean)
    valid = (textures > 0).all((0, 1))
    variance = ((textures - texture_mean) ** 2)[:, :, valid].mean() * 255**2
    (root / "tex_var.txt").write_text(f"{variance:.8g}\n")


def _save(path: Path, image: Array) -> None:
    """[3, H, W] or [H, W] in [0, 1] as an 8-bit PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)) if pixels.ndim == 3 else pixels).save(path)
